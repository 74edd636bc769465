import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from embedding.datasets.records import EvaluationSet, UnusableVideos
from embedding.errors import EmbeddingError, ScoresError
from embedding.evaluate import (
    EvaluationOptions,
    Scores,
    SetResult,
    evaluate,
    evaluation_during_training,
    measure,
    score,
)
from embedding.metrics import Interval, class_ranks, ranks_of_right, summarise
from embedding.model import ModelSpec, TextVideoEmbedding
from embedding.multi_instance import mean_figures, query_figures
from embedding.published_results import PUBLISHED_RESULTS, published_results
from embedding.report import further_tables, report_json, retrieval_table, save_ranking, save_report
from embedding.train import new_model
from tests.embedding import planted


@pytest.fixture
def model() -> TextVideoEmbedding:
    return new_model(planted.SPEC, 3)


def planted_set(name: str = "planted", *, classes: bool = True) -> EvaluationSet:
    clips = planted.clips(3)
    return EvaluationSet(
        name, clips if classes else [replace(clip, class_id=-1) for clip in clips], planted.KindReader()
    )


def random_scores(sentences: int, clips: int) -> Scores:
    return np.random.default_rng(0).normal(size=(sentences, clips)).astype(np.float32)


@pytest.mark.parametrize("batch_size", [1, 5, 24, 1000])
def test_scores_are_the_model_s_whatever_the_batch(tmp_path: Path, model: TextVideoEmbedding, batch_size: int) -> None:
    test_set, words = planted_set(), planted.word_vectors(tmp_path)
    with torch.no_grad():
        sentences = torch.from_numpy(words.sentence_vectors(test_set.captions, 4))
        wanted = model.eval()(torch.from_numpy(test_set.videos(0, 24)), sentences).numpy()
    model.train()
    found = score(model, test_set, words, batch_size)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert not model.training


def test_vectors_of_another_length_are_said(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match=r"video vectors of 9 and word vectors of 6 .* planted have 12"):
        score(new_model(ModelSpec(9, 4, 6), 1), planted_set(), planted.word_vectors(tmp_path))


def test_both_directions_over_the_whole_set() -> None:
    test_set, scores = planted_set(classes=False), random_scores(24, 24)
    result = measure(scores, test_set)
    assert result.directions["text_to_video"].retrieval == summarise(ranks_of_right(scores))
    assert result.directions["video_to_text"].retrieval == summarise(ranks_of_right(scores.T))
    assert (result.clip_count, result.sentence_count, result.unusable.complete) == (24, 24, True)
    for held in result.directions.values():
        assert held.by_class is None
        assert held.multi_instance is None
        assert set(held.intervals) == {"recall_at_1", "recall_at_5", "recall_at_10", "median_rank"}
    assert not measure(scores, test_set, EvaluationOptions(resamples=0)).directions["text_to_video"].intervals


def test_several_sentences_a_clip() -> None:
    right = np.array([0, 0, 2, 2, 2])
    captions = tuple("abcde")
    test_set = EvaluationSet("several", planted.clips(3)[:4], planted.KindReader(), captions, right)
    result = measure(random_scores(5, 4), test_set)
    assert result.directions["text_to_video"].retrieval.query_count == 5
    assert result.directions["video_to_text"].retrieval.query_count == 2


def test_classes_are_ranked_where_every_clip_has_one() -> None:
    test_set, scores = planted_set(), random_scores(24, 24)
    result = measure(scores, test_set)
    classes = test_set.class_ids
    assert result.directions["text_to_video"].by_class == summarise(class_ranks(scores, classes, classes))
    assert result.directions["video_to_text"].by_class == summarise(class_ranks(scores.T, classes, classes))


def test_a_class_that_no_sentence_has_is_not_asked_for() -> None:
    right = np.array([0, 1])
    test_set = EvaluationSet("few", planted.clips(1)[:4], planted.KindReader(), ("a", "b"), right)
    by_class = measure(random_scores(2, 4), test_set).directions["video_to_text"].by_class
    assert by_class is not None
    assert by_class.query_count == 2


def graded_set() -> EvaluationSet:
    relevance = np.random.default_rng(1).choice([0, 0.5, 1], (6, 8)).astype(np.float32)
    relevance[np.arange(6), np.arange(6)] = 1
    relevance[:, 7] = 0.5
    return EvaluationSet(
        "graded",
        planted.clips(1),
        planted.KindReader(),
        tuple("abcdef"),
        np.arange(6),
        relevance,
        UnusableVideos(9, {"lost": "no file"}),
    )


def test_graded_relevance_is_measured_in_both_directions() -> None:
    test_set, scores = graded_set(), random_scores(6, 8)
    assert test_set.relevance is not None
    result = measure(scores, test_set)
    assert result.directions["text_to_video"].multi_instance == mean_figures(query_figures(scores, test_set.relevance))
    found = result.directions["video_to_text"].multi_instance
    asked = (test_set.relevance == 1).any(axis=0)
    assert not asked[7]
    assert found == mean_figures(query_figures(scores.T[asked], test_set.relevance.T[asked]))
    assert result.directions["text_to_video"].by_class is None


def test_every_figure_but_the_number_of_queries_has_its_interval() -> None:
    for result in (measure(random_scores(24, 24), planted_set()), measure(random_scores(6, 8), graded_set())):
        for held in result.directions.values():
            figures = {name: value for name, value in held.figures().items() if not name.endswith("query_count")}
            assert held.intervals.keys() == figures.keys()
            for name, value in figures.items():
                assert held.intervals[name].low <= value <= held.intervals[name].high
    assert (
        measure(random_scores(6, 8), graded_set(), EvaluationOptions(resamples=0)).directions["text_to_video"].intervals
        == {}
    )


def test_scores_that_do_not_fit_or_are_nan_are_refused() -> None:
    with pytest.raises(ScoresError, match=r"\(24, 24\) sentences and clips, and the scores are \(3, 3\)"):
        measure(random_scores(3, 3), planted_set())
    scores = random_scores(24, 24)
    scores[0, 0] = np.nan
    with pytest.raises(ScoresError, match="are NaN"):
        measure(scores, planted_set())
    with pytest.raises(ValueError, match="at least 1 sample"):
        EvaluationOptions(batch_size=0)


def test_figures_go_by_set_direction_and_name(tmp_path: Path, model: TextVideoEmbedding) -> None:
    words = planted.word_vectors(tmp_path)
    figures = evaluation_during_training([planted_set(), graded_set()], words, 5)(model)
    results = evaluate(model, [planted_set(), graded_set()], words)
    assert (
        figures["planted/text_to_video/recall_at_10"] == results[0].directions["text_to_video"].retrieval.recall_at_10
    )
    assert {"planted/video_to_text/class/median_rank", "graded/text_to_video/multi_instance/ndcg"} <= set(figures)


# The report


def named(name: str, sentences: int) -> SetResult:
    """Figures under the name of a published test set and with as many sentences."""
    return replace(measure(random_scores(24, 24), planted_set(classes=False)), name=name, sentence_count=sentences)


def row(lines: Sequence[tuple[str, ...]], start: str) -> tuple[str, ...]:
    return next(line for line in lines if line[1].strip().startswith(start))


def test_published_figures_stand_beside_those_of_the_same_protocol() -> None:
    table = retrieval_table([named("msrvtt", 1000)])
    assert row(table.rows, "published: HowTo100M, zero-shot")[2:] == ("7.5", "21.2", "29.6", "38", "1000")
    assert row(table.rows, "published: HowTo100M, fine-tuned")[2:] == ("14.9", "40.2", "52.8", "9", "1000")
    assert table.notes == ()


def test_figures_over_a_part_of_a_test_set_stand_alone_and_say_so() -> None:
    table = retrieval_table([named("youcook2", 40), named("own", 40)])
    assert len(table.rows) == 4
    assert table.notes == (
        "youcook2: published figures are over 3350 sentences, these over 40: they cannot be compared.",
    )


def test_the_published_figures_are_the_paper_s() -> None:
    assert len(PUBLISHED_RESULTS) == 9
    zero_shot = [each for each in PUBLISHED_RESULTS if each.trained_on == "HowTo100M, zero-shot"]
    assert {each.test_set: each.median_rank for each in zero_shot} == {"youcook2": 46, "msrvtt": 38, "lsmdc": 137}
    assert published_results("msrvtt", 999) == ()


def test_the_table_shows_percents_with_their_intervals() -> None:
    result = measure(random_scores(24, 24), planted_set(classes=False))
    figures = result.directions["text_to_video"]
    interval = figures.intervals["recall_at_10"]
    shown = row(retrieval_table([result]).rows, "text to video")
    assert (
        shown[4] == f"{100 * figures.retrieval.recall_at_10:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    )
    assert shown[5].startswith(f"{figures.retrieval.median_rank:g} [")
    assert shown[6] == "24"


def test_the_table_is_text_with_columns_in_line() -> None:
    text = str(retrieval_table([named("msrvtt", 1000), measure(random_scores(6, 8), graded_set())], "My table"))
    lines = text.splitlines()
    assert lines[0] == "My table"
    assert lines[1].startswith("test set")
    assert len({len(line) for line in lines[1:-1]}) == 1, "the last column is filled in every line"
    assert lines[-1] == (
        "graded: 1 videos and 0 clips of others could not be used, so that this is not the published protocol."
    )


def test_classes_and_relevance_have_tables_of_their_own() -> None:
    assert further_tables([named("own", 24)]) == []
    results = [measure(random_scores(24, 24), planted_set()), measure(random_scores(6, 8), graded_set())]
    classes, graded = further_tables(results)
    assert [line[0] for line in classes.rows] == ["planted", "planted"]
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
        named("lsmdc", 1000),
        measure(random_scores(24, 24), planted_set()),
        measure(random_scores(6, 8), graded_set()),
    ]
    save_report(tmp_path / "report.json", results, {"checkpoint": "last.pth"})
    found = json.loads((tmp_path / "report.json").read_text())
    assert found == json.loads(json.dumps(report_json(results, {"checkpoint": "last.pth"})))
    assert found["checkpoint"] == "last.pth"
    assert len(found["sets"]["lsmdc"]["published"]) == 3
    assert found["sets"]["planted"]["published"] == []
    direction = found["sets"]["planted"]["directions"]["text_to_video"]
    assert set(direction) == {"retrieval", "intervals_95", "by_class"}
    assert "ndcg" in found["sets"]["graded"]["directions"]["video_to_text"]["multi_instance"]
    assert (found["sets"]["graded"]["unusable_videos"], found["sets"]["graded"]["unusable_clips"]) == (1, 0)


@pytest.mark.parametrize("unusable", [UnusableVideos(9, {"a": "gone"}), UnusableVideos(9, {}, {"a@1-2": "late"})])
def test_published_figures_are_not_beside_those_of_a_part(unusable: UnusableVideos) -> None:
    part = replace(named("lsmdc", 1000), unusable=unusable)
    table = retrieval_table([part])
    assert len(table.rows) == 2
    counts = f"{len(unusable.reasons)} videos and {len(unusable.clips)} clips"
    assert table.notes == (f"lsmdc: {counts} of others could not be used, so that this is not the published protocol.",)
    assert "'published': []" in str(report_json([part], {}))


def test_bounds_of_a_median_rank_are_rounded() -> None:
    result = named("lsmdc", 1000)
    held = result.directions["text_to_video"]
    directions = {
        **result.directions,
        "text_to_video": replace(held, intervals={**held.intervals, "median_rank": Interval(21.9875, 32.5)}),
    }
    assert retrieval_table([replace(result, directions=directions)]).rows[0][5].endswith(" [22, 32.5]")


def test_the_ranking_has_the_first_k_of_each_sentence(tmp_path: Path) -> None:
    test_set, scores = planted_set(), random_scores(24, 24)
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
