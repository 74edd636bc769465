from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reeldex.embedding.block_pooling import pool_spans
from reeldex.embedding.datasets.epic_options import EpicRetrievalOptions
from reeldex.embedding.datasets.epic_retrieval import (
    _sentences,
    open_evaluation,
    open_training,
    read_actions,
    read_annotations,
)
from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.embedding.datasets.locations import open_features
from reeldex.embedding.errors import DatasetError, MissingVideosError
from reeldex.embedding.multi_instance import mean_figures, query_figures
from tests.embedding.feature_files import make_store, rows_of

OFFICIAL = Path(__file__).resolve().parents[2].parent / "shared" / "epic"
needs_official_files = pytest.mark.skipif(
    not OFFICIAL.is_dir(), reason="the official annotations lie outside this repository"
)
HEADER = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,narration,verb_class,all_noun_classes\n"
ROWS = [
    ("P01_01_0", "P01_01", "00:00:00.50", "00:00:02.00", "take plate", 0, "[2]"),
    ("P01_01_1", "P01_01", "00:00:02.00", "00:00:05.00", "put plate and cup", 1, "[2, 13]"),
    ("P01_01_2", "P01_01", "00:00:06.10", "00:00:09.00", "grab plate", 0, "[2]"),
    ("P02_01_0", "P02_01", "00:00:01.00", "00:00:04.00", "wash cup", 2, "[13]"),
]


def line(row: tuple[object, ...]) -> str:
    narration_id, video_id, start, stop, narration, verb, nouns = row
    return f'{narration_id},P,{video_id},{start},{stop},{narration},{verb},"{nouns}"\n'


@pytest.fixture
def options(tmp_path: Path) -> EpicRetrievalOptions:
    store = make_store(tmp_path, {f"{video_id}.MP4": rows_of(video_id) for video_id in ("P01_01", "P02_01")})
    for name in ("train", "test"):
        (tmp_path / f"EPIC_100_retrieval_{name}.csv").write_text(HEADER + "".join(map(line, ROWS)))
    sentences = [ROWS[at] for at in (0, 3, 1)]
    (tmp_path / "EPIC_100_retrieval_test_sentence.csv").write_text(
        "narration_id,narration\n" + "".join(f"{row[0]},{row[4]}\n" for row in sentences)
    )
    return EpicRetrievalOptions.published(tmp_path).replaced(features=FeatureLocation(store=store.path))


def test_sentences_clips_and_their_relevance(options: EpicRetrievalOptions) -> None:
    held = open_evaluation(options)
    assert held.captions == ("take plate", "wash cup", "put plate and cup")
    assert held.right_clips.tolist() == [0, 3, 1]
    assert held.relevance is not None
    assert np.allclose(held.relevance, [[1, 0.25, 1, 0], [0, 0.25, 0, 1], [0.25, 1, 0.25, 0.25]])
    assert held.relevance.dtype == np.float64
    assert options.features
    source = open_features(options.features)
    assert np.array_equal(held.videos(1, 2), pool_spans(source, "P01_01", [(2.0, 5.0)]))
    assert held.class_ids.tolist() == [0, 1, 0, 2]


def test_training_pairs_each_clip_with_its_narration(options: EpicRetrievalOptions) -> None:
    training = open_training(options)
    assert [training.sample(0, 0, at).captions for at in range(4)] == [(row[4],) for row in ROWS]
    assert training.sample(0, 0, 3).clip_ids == ("P02_01_0",)


def test_sentences_that_no_usable_clip_answers_are_left_out(tmp_path: Path, options: EpicRetrievalOptions) -> None:
    rows = [("P01_01_0", "P09_09", *ROWS[0][2:]), *ROWS[1:3], ("P02_01_0", "P09_09", *ROWS[3][2:])]
    (tmp_path / "EPIC_100_retrieval_test.csv").write_text(HEADER + "".join(map(line, rows)))
    with pytest.raises(MissingVideosError, match="P09_09: the store has no features of it"):
        open_evaluation(options)
    held = open_evaluation(options.replaced(max_missing_share=0.5))
    assert held.captions == ("take plate", "put plate and cup")
    assert [clip.clip_id for clip in held.clips] == ["P01_01_1", "P01_01_2"]
    assert held.unusable.sentences == 1
    assert held.right_clips.tolist() == [1, 0], "another clip of the same action answers the first"
    assert not held.unusable.complete


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda text: text.replace("all_noun_classes", "nouns"), "has no column 'all_noun_classes'"),
        (lambda text: text.replace("[2, 13]", "[]"), "line 3, column 'all_noun_classes': it names no class"),
        (lambda text: text.replace(",2,", ",x,"), "line 5, column 'verb_class': 'x' is not a whole number"),
        (lambda text: text.replace("P01_01_1", "P01_01_0"), "line 3, column 'narration_id': 'P01_01_0' occurs twice"),
        (lambda text: text.splitlines()[0], "has no rows below its first line"),
    ],
)
def test_annotations_that_cannot_be_used(
    tmp_path: Path, options: EpicRetrievalOptions, spoil: Callable[[str], str], why: str
) -> None:
    path = tmp_path / "EPIC_100_retrieval_test.csv"
    path.write_text(spoil(path.read_text()))
    with pytest.raises(DatasetError, match=why):
        open_evaluation(options)


def test_sentences_of_other_clips_are_refused(tmp_path: Path, options: EpicRetrievalOptions) -> None:
    (tmp_path / "EPIC_100_retrieval_test_sentence.csv").write_text("narration_id,narration\nP07_0,x\n")
    with pytest.raises(
        DatasetError, match=r"sentence\.csv, line 2, column 'narration_id': the test clips do not include"
    ):
        open_evaluation(options)
    with pytest.raises(DatasetError, match="needs train_csv"):
        open_training(options.replaced(train_csv=None))
    with pytest.raises(DatasetError, match="needs test_csv"):
        open_evaluation(options.replaced(test_csv=None))
    with pytest.raises(DatasetError, match="needs features"):
        open_training(options.replaced(features=None))


@needs_official_files
def test_the_official_test_files_are_read() -> None:
    actions = read_actions(OFFICIAL / "EPIC_100_retrieval_test.csv")
    assert len(actions) == 9668
    assert (actions[0].start_seconds, actions[0].end_seconds, actions[0].narration) == (0.0, 1.89, "take plate")
    assert actions[0].action.nouns == {2}
    assert max(len(each.action.nouns) for each in actions) > 3


@pytest.mark.slow
@needs_official_files
def test_the_official_protocol_from_files_to_figures(tmp_path: Path) -> None:
    actions = read_actions(OFFICIAL / "EPIC_100_retrieval_test.csv")
    ends: dict[str, float] = {}
    for each in actions:
        ends[each.video_id] = max(ends.get(each.video_id, 0), each.end_seconds)
    store = make_store(tmp_path, {video_id: rows_of(video_id, int(end) + 1) for video_id, end in ends.items()})
    options = EpicRetrievalOptions.published(OFFICIAL).replaced(features=FeatureLocation(store=store.path))
    held = open_evaluation(options.replaced(max_missing_share=0, protocol="test"))
    assert (len(held.clips), len(held.captions)) == (9668, 3842)
    assert (held.identity().protocol, held.identity().published) == ("test", True)
    assert held.relevance is not None
    # Slow twin, on some of the 37 million pairs: verbs alike or not, nouns by intersection over union.
    by_id = {each.narration_id: each.action for each in actions}
    generator = np.random.default_rng(0)
    sentence_ids = [
        line.split(",")[0] for line in (OFFICIAL / "EPIC_100_retrieval_test_sentence.csv").read_text().splitlines()[1:]
    ]
    for sentence, clip in zip(generator.integers(3842, size=300), generator.integers(9668, size=300), strict=True):
        said, seen = by_id[sentence_ids[sentence]], by_id[held.clips[clip].clip_id]
        shared = len(said.nouns & seen.nouns) / len(said.nouns | seen.nouns)
        assert held.relevance[sentence, clip] == pytest.approx(((said.verb == seen.verb) + shared) / 2)
    assert (held.relevance[np.arange(3842), held.right_clips] == 1).all()
    perfect = mean_figures(query_figures(held.relevance[:50], held.relevance[:50]))
    assert (perfect.mean_average_precision, perfect.ndcg) == (1, 1)


@pytest.mark.parametrize("spoilt", ["00:00:01.00", "x", "", "nan"])
def test_a_row_without_a_valid_time_is_left_out_with_its_sentence(
    tmp_path: Path, options: EpicRetrievalOptions, spoilt: str
) -> None:
    path = tmp_path / "EPIC_100_retrieval_test.csv"
    path.write_text(path.read_text().replace("00:00:05.00", spoilt))
    held = open_evaluation(options)
    assert [clip.clip_id for clip in held.clips] == ["P01_01_0", "P01_01_2", "P02_01_0"]
    assert held.captions == ("take plate", "wash cup")
    assert (len(held.unusable.rows), held.unusable.sentences, held.unusable.complete) == (2, 1, False)


def test_without_sentences_they_are_the_distinct_narrations(options: EpicRetrievalOptions) -> None:
    derived = open_evaluation(options.replaced(test_sentence_csv=None))
    assert derived.captions == tuple(dict.fromkeys(row[4] for row in ROWS))


def test_epic_kitchens_55_calls_the_id_uid(tmp_path: Path, options: EpicRetrievalOptions) -> None:
    header = (
        "uid,participant_id,video_id,narration,start_timestamp,stop_timestamp,start_frame,stop_frame,"
        "verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
    )
    rows = (
        "6374,P01,P01_01,open door,00:00:00.56,00:00:03.37,1,202,open,2,door,8,['door'],[8]\n"
        "6375,P01,P01_01,turn on light,00:00:05.37,00:00:06.17,262,370,turn-on,12,light,113,['light'],[113]\n"
        "6376,P02,P02_01,open door,00:00:00.56,00:00:03.37,1,202,open,2,door,8,\"['door', 'knob']\",\"[8, 9]\"\n"
    )
    path = tmp_path / "EPIC_train_action_labels.csv"
    path.write_text(header + rows)
    ours = options.replaced(train_csv=path, test_csv=path, test_sentence_csv=None)
    training = open_training(ours)
    assert [training.sample(0, 0, at).captions[0] for at in range(3)] == ["open door", "turn on light", "open door"]
    held = open_evaluation(ours)
    assert held.captions == ("open door", "turn on light")
    assert held.relevance is not None
    assert held.relevance[0].tolist() == [1, 0, 0.75]


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason=f"the official annotations are not at {OFFICIAL}")
def test_the_official_sentences_are_the_distinct_narrations() -> None:
    annotations = read_annotations(OFFICIAL / "EPIC_100_retrieval_test.csv")
    official = _sentences(OFFICIAL / "EPIC_100_retrieval_test_sentence.csv", annotations)
    derived = {each.narration for each in _sentences(None, annotations).rows}
    assert derived == {each.narration for each in official.rows}
