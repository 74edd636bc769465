"""Tables, JSON and rankings; and when the paper's figures stand beside one's own."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reeldex.embedding.datasets.protocols import SetIdentity
from reeldex.embedding.datasets.records import EvaluationSet
from reeldex.embedding.datasets.unusable import UnusableVideos
from reeldex.embedding.evaluation.evaluate import SetResult, measure
from reeldex.embedding.evaluation.metrics import Interval, ranks_of_right
from reeldex.embedding.evaluation.published_results import PUBLISHED_RESULTS, published_results
from reeldex.embedding.evaluation.tables import (
    figures_in_words,
    further_tables,
    report_json,
    retrieval_table,
    save_ranking,
    save_report,
)
from tests.embedding import synthetic
from tests.embedding.synthetic_sets import graded_set, random_scores, synthetic_set

SHA256 = "ab" * 32


def named(name: str, protocol: str | None, *, published: bool = True, possible: tuple[str, ...] = ()) -> SetResult:
    """Return figures under the name of a published test set."""
    identity = SetIdentity(SHA256, protocol, published, possible)
    return replace(measure(random_scores(24, 24), synthetic_set(classes=False)), name=name, identity=identity)


def row(lines: Sequence[tuple[str, ...]], start: str) -> tuple[str, ...]:
    return next(line for line in lines if line[1].strip().startswith(start))


def test_published_figures_stand_beside_the_published_set() -> None:
    table = retrieval_table([named("msrvtt", "1k-A")])
    assert row(table.rows, "published: HowTo100M, zero-shot")[2:] == ("7.5", "21.2", "29.6", "38", "1000")
    assert row(table.rows, "published: HowTo100M, fine-tuned")[2:] == ("14.9", "40.2", "52.8", "9", "1000")
    assert table.notes == (
        f"msrvtt: protocol 1k-A, 24 videos, 24 sentences, the published set; SHA-256 of the set {SHA256}.",
    )


@pytest.mark.parametrize(
    ("result", "size", "why"),
    [
        (
            named("youcook2", None, published=False),
            "no named protocol, 24 clips",
            "published figures are of protocol validation, over 3,350 sentences: they cannot be compared.",
        ),
        (
            named("msrvtt", "1k-B"),
            "protocol 1k-B, 24 videos",
            "published figures are of protocol 1k-A, over 1,000 sentences: they cannot be compared.",
        ),
        (
            named("msrvtt", None, published=False, possible=("1k-A", "1k-B")),
            "protocol 1k-A or 1k-B, 24 videos",
            "nothing shows that this is the published set. If you know that it is, state it: protocol 1k-A",
        ),
        (
            named("lsmdc", "1k", published=False),
            "protocol 1k, 24 clips",
            "state it: protocol 1k and published_sha256 (docs/datasets.md).",
        ),
    ],
)
def test_figures_over_another_or_an_unknown_set_stand_alone_and_say_why(result: SetResult, size: str, why: str) -> None:
    table = retrieval_table([result])
    assert len(table.rows) == 2
    assert size in table.notes[0]
    assert why in table.notes[1]
    assert report_json([result], {})["sets"][result.name]["published"] == []  # type: ignore[index, call-overload]


def test_a_hash_that_is_stated_and_is_another_is_said() -> None:
    identity = SetIdentity(SHA256, "1k", stated_sha256="cd" * 32)
    table = retrieval_table([replace(named("lsmdc", "1k"), identity=identity)])
    assert len(table.rows) == 2
    assert table.notes[1] == f"lsmdc: this is not the published set; its SHA-256 is stated as {'cd' * 32}."


def test_a_set_without_published_figures_says_only_what_it_is() -> None:
    assert len(retrieval_table([named("own", None, published=False)]).notes) == 1


def test_both_directions_are_said_in_a_sentence() -> None:
    said = figures_in_words(named("msrvtt", "1k-A"))
    assert said.startswith("msrvtt (protocol 1k-A, 24 videos, 24 sentences), text to video: R@1 ")
    assert "; video to text: R@1 " in said


def test_the_published_figures_are_the_paper_s() -> None:
    assert len(PUBLISHED_RESULTS) == 9
    zero_shot = [each for each in PUBLISHED_RESULTS if each.trained_on == "HowTo100M, zero-shot"]
    assert {each.test_set: each.median_rank for each in zero_shot} == {"youcook2": 46, "msrvtt": 38, "lsmdc": 137}
    assert published_results("msrvtt", "full") == published_results("msrvtt", None) == ()


def test_the_table_shows_percents_with_their_intervals() -> None:
    result = measure(random_scores(24, 24), synthetic_set(classes=False))
    figures = result.directions["text_to_video"]
    interval = figures.intervals["recall_at_10"]
    shown = row(retrieval_table([result]).rows, "text to video")
    assert (
        shown[4] == f"{100 * figures.retrieval.recall_at_10:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    )
    assert shown[5].startswith(f"{figures.retrieval.median_rank:g} [")
    assert shown[6] == "24"


def test_the_table_is_text_with_columns_in_line() -> None:
    graded = measure(random_scores(6, 8), graded_set("epic-retrieval"))
    text = str(retrieval_table([named("msrvtt", "1k-A"), graded], "My table"))
    lines = text.splitlines()
    assert lines[0] == "My table"
    assert lines[1].startswith("test set")
    assert len({len(line) for line in lines[1:-3]}) == 1, "the last column is filled in every line"
    assert lines[-1] == ("epic-retrieval: 1 video could not be used, so this is not the published protocol.")


def test_own_captions_follow_no_published_protocol() -> None:
    left_out = UnusableVideos(9, {"lost": "no file"})
    table = retrieval_table([replace(named("captions", None, published=False), unusable=left_out)])
    assert table.notes == (
        f"captions: own captions, no published protocol, 24 clips, 24 sentences; SHA-256 of the set {SHA256}.",
        "captions: 1 video could not be used.",
    )


def test_classes_and_relevance_have_tables_of_their_own() -> None:
    assert further_tables([named("own", None)]) == []
    results = [measure(random_scores(24, 24), synthetic_set()), measure(random_scores(6, 8), graded_set())]
    classes, graded = further_tables(results)
    assert [line[0] for line in classes.rows] == ["synthetic", "synthetic"]
    assert [line[0] for line in graded.rows] == ["graded", "graded"]
    held = results[1].directions["text_to_video"]
    several = held.multi_instance
    assert several is not None

    def shown(name: str) -> str:
        interval = held.intervals[f"multi_instance/{name}"]
        return f"{100 * getattr(several, name):.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"

    assert graded.rows[0][2:] == (*map(shown, ("mean_average_precision", "binary_average_precision", "ndcg")), "6")
    by_class = results[0].directions["video_to_text"]
    assert by_class.by_class is not None
    interval = by_class.intervals["class/recall_at_1"]
    recall = f"{100 * by_class.by_class.recall_at_1:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    assert classes.rows[1][2] == recall


def test_the_report_is_json_with_all_figures(tmp_path: Path) -> None:
    results = [
        named("lsmdc", "1k"),
        measure(random_scores(24, 24), synthetic_set()),
        measure(random_scores(6, 8), graded_set()),
    ]
    save_report(tmp_path / "report.json", results, {"checkpoint": "last.pth"})
    found = json.loads((tmp_path / "report.json").read_text())
    assert found == json.loads(json.dumps(report_json(results, {"checkpoint": "last.pth"})))
    assert found["checkpoint"] == "last.pth"
    assert len(found["sets"]["lsmdc"]["published"]) == 3
    assert found["sets"]["synthetic"]["published"] == []
    sizes = {"clips": 24, "sentences": 24, "protocol": "1k", "is_published_set": True, "sha256": SHA256}
    assert sizes.items() <= found["sets"]["lsmdc"].items()
    assert found["sets"]["synthetic"]["protocol"] is None
    direction = found["sets"]["synthetic"]["directions"]["text_to_video"]
    assert set(direction) == {"retrieval", "intervals_95", "by_class"}
    assert "ndcg" in found["sets"]["graded"]["directions"]["video_to_text"]["multi_instance"]
    assert (found["sets"]["graded"]["unusable_videos"], found["sets"]["graded"]["unusable_clips"]) == (1, 0)


@pytest.mark.parametrize(
    ("unusable", "said"),
    [
        (UnusableVideos(9, {"a": "gone"}, sentences=20), "1 video and 20 sentences"),
        (UnusableVideos(9, {}, {"a@1-2": "late"}, 1), "1 clip of other videos and 1 sentence"),
    ],
)
def test_published_figures_are_not_beside_those_of_a_part(unusable: UnusableVideos, said: str) -> None:
    part = replace(named("lsmdc", "1k"), unusable=unusable)
    table = retrieval_table([part])
    assert len(table.rows) == 2
    assert table.notes[1].startswith(f"lsmdc: {said} could not be used")
    assert "'published': []" in str(report_json([part], {}))


def test_bounds_of_a_median_rank_are_rounded() -> None:
    result = named("lsmdc", "1k")
    held = result.directions["text_to_video"]
    directions = {
        **result.directions,
        "text_to_video": replace(held, intervals={**held.intervals, "median_rank": Interval(21.9875, 32.5)}),
    }
    assert retrieval_table([replace(result, directions=directions)]).rows[0][5].endswith(" [22, 32.5]")


def test_the_ranking_has_the_first_k_of_each_sentence(tmp_path: Path) -> None:
    test_set, scores = synthetic_set(), random_scores(24, 24)
    save_ranking(tmp_path / "ranking.csv", scores, test_set, 3)
    with (tmp_path / "ranking.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24 * 3
    for number in (0, 23):
        mine = [each for each in rows if each["sentence"] == str(number)]
        order = np.argsort(-scores[number])[:3]
        assert [each["clip_id"] for each in mine] == [test_set.clips[at].clip_id for at in order]
        assert [each["rank"] for each in mine] == ["1", "2", "3"]
        assert [each["right"] for each in mine] == [str(int(at == number)) for at in order]
        assert mine[0]["caption"] == test_set.captions[number]
        assert float(mine[0]["score"]) == pytest.approx(scores[number].max(), abs=1e-6)


def test_the_ranking_breaks_ties_as_the_figures_do(tmp_path: Path) -> None:
    right = np.array([0, 0, 3, 1])
    test_set = EvaluationSet("several", synthetic.clips(1)[:4], synthetic.KindReader(), tuple("abcd"), right)
    scores = np.round(random_scores(4, 4)).astype(np.float32)
    scores[2] = 0
    save_ranking(tmp_path / "ranking.csv", scores, test_set, 4)
    with (tmp_path / "ranking.csv").open(encoding="utf-8", newline="") as file:
        found = [int(each["rank"]) for each in csv.DictReader(file) if each["right"] == "1"]
    assert found == ranks_of_right(scores, right).tolist()
