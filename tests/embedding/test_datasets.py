from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reeldex.embedding.block_pooling import pool_spans, pool_whole
from reeldex.embedding.datasets import howto100m, lsmdc, msrvtt, youcook2
from reeldex.embedding.datasets.clips import Clip
from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.embedding.datasets.howto100m_options import Howto100mOptions
from reeldex.embedding.datasets.locations import open_features
from reeldex.embedding.datasets.options import LsmdcOptions, MsrvttOptions, Youcook2Options
from reeldex.embedding.datasets.readers import _is_vector, deduplicate_ids, load_vectors
from reeldex.embedding.datasets.registry import DATASETS
from reeldex.embedding.errors import DatasetError, MissingVideosError
from reeldex.embedding.features import StoreFeatures
from tests.embedding.feature_files import VIDEOS


def write_vectors(path: Path, video_ids: list[str]) -> Path:
    generator = np.random.default_rng(0)
    vectors = {
        stream: {video_id: torch.from_numpy(generator.normal(size=width)) for video_id in video_ids}
        for stream, width in (("2d", 6), ("3d", 4))
    }
    torch.save(vectors, path)
    return path


@pytest.fixture
def msrvtt_files(tmp_path: Path) -> MsrvttOptions:
    sentences = [{"video_id": video_id, "caption": f"{video_id} {at}"} for video_id in VIDEOS for at in range(20)]
    (tmp_path / "train.csv").write_text("video_id\n" + "\n".join(VIDEOS) + "\n")
    (tmp_path / "data.json").write_text(json.dumps({"sentences": sentences}))
    (tmp_path / "test.csv").write_text(
        "key,vid_key,video_id,sentence\n" + "".join(f"r,m,{each},a {each}\n" for each in VIDEOS)
    )
    return MsrvttOptions(
        train_csv=tmp_path / "train.csv",
        train_json=tmp_path / "data.json",
        train_features=write_vectors(tmp_path / "train.pth", VIDEOS),
        test_csv=tmp_path / "test.csv",
        test_features=write_vectors(tmp_path / "test.pth", VIDEOS),
    )


def test_msrvtt_draws_one_of_a_videos_captions(msrvtt_files: MsrvttOptions) -> None:
    training = msrvtt.open_training(msrvtt_files)
    assert len(training) == 6
    drawn = {training.sample(0, epoch, 2).captions[0] for epoch in range(200)}
    assert drawn == {f"video2 {at}" for at in range(20)}


def test_msrvtt_from_a_store_pools_whole_videos(msrvtt_files: MsrvttOptions, store: FeatureLocation) -> None:
    options = msrvtt_files.replaced(features=store, train_features=None, test_features=None)
    source = open_features(store)
    assert isinstance(source, StoreFeatures)
    held = msrvtt.open_evaluation(options)
    assert held.captions == tuple(f"a {each}" for each in VIDEOS)
    for at, video_id in enumerate(VIDEOS):
        assert np.array_equal(held.videos(at, at + 1)[0], pool_whole(source, video_id))
    assert np.array_equal(msrvtt.open_training(options).sample(0, 0, 3).video[0], held.videos(3, 4)[0])
    assert held.fingerprints() == source.fingerprints()


def test_msrvtt_goes_on_without_some_videos(tmp_path: Path, msrvtt_files: MsrvttOptions) -> None:
    options = msrvtt_files.replaced(test_features=write_vectors(tmp_path / "fewer.pth", VIDEOS[1:]))
    with pytest.raises(MissingVideosError, match=r"(?s)msrvtt: 1 of 6 videos.*video0: .*fewer\.pth has no features"):
        msrvtt.open_evaluation(options)
    held = msrvtt.open_evaluation(options.replaced(max_missing_share=0.2))
    assert [clip.video_id for clip in held.clips] == VIDEOS[1:]
    assert list(held.unusable.reasons) == ["video0"]


def test_msrvtt_videos_without_captions_are_missing(tmp_path: Path, msrvtt_files: MsrvttOptions) -> None:
    (tmp_path / "data.json").write_text(json.dumps({"sentences": [{"video_id": "video1", "caption": "x"}]}))
    training = msrvtt.open_training(msrvtt_files.replaced(max_missing_share=0.9))
    assert len(training) == 1
    assert "data.json has no caption of it" in training.unusable.reasons["video0"]


def test_features_that_are_no_numbers_are_missing(tmp_path: Path, msrvtt_files: MsrvttOptions) -> None:
    vectors = torch.load(tmp_path / "test.pth", weights_only=True)
    vectors["3d"]["video4"][2] = float("nan")
    torch.save(vectors, tmp_path / "test.pth")
    held = msrvtt.open_evaluation(msrvtt_files.replaced(max_missing_share=0.2))
    assert "hold NaN" in held.unusable.reasons["video4"]


@pytest.mark.parametrize(
    ("held", "why"),
    [
        ([1], "must have the features under '2d' and '3d'; it has list"),
        ({"2d": {}}, "it has '2d'"),
        ({"2d": {}, "3d": {}}, "contains no features of any video"),
        ({"2d": 3, "3d": {}}, "'2d' must map video ids to tensors"),
        ({"2d": {"a": torch.zeros(2, 2)}, "3d": {"a": torch.zeros(2)}}, r"'2d' of a is torch.float32 \(2, 2\)"),
        ({"2d": {"a": torch.zeros(0)}, "3d": {"a": torch.zeros(2)}}, r"'2d' of a is torch.float32 \(0,\)"),
        ({"2d": {"a": torch.zeros(2).int()}, "3d": {"a": torch.zeros(2)}}, "'2d' of a is torch.int32"),
        (
            {"2d": {"a": torch.zeros(2), "b": torch.zeros(3)}, "3d": dict.fromkeys("ab", torch.zeros(2))},
            r"the 2d features of 'b' are \(3,\), others are \(2,\)",
        ),
    ],
)
def test_pth_files_that_hold_something_else(
    tmp_path: Path, msrvtt_files: MsrvttOptions, held: object, why: str
) -> None:
    torch.save(held, tmp_path / "test.pth")
    with pytest.raises(DatasetError, match=f"test.pth.*{why}".replace("of a ", "of 'a' ")):
        msrvtt.open_evaluation(msrvtt_files)


def test_vectors_that_were_parameters_are_vectors(tmp_path: Path) -> None:
    vectors = {"a": torch.nn.Parameter(torch.tensor([3.0, 4.0]))}
    torch.save({"2d": vectors, "3d": vectors}, tmp_path / "p.pth")
    found = load_vectors(tmp_path / "p.pth").read(Clip("a", "a", ("x",)))
    assert np.allclose(found, [0.6, 0.8, 0.6, 0.8])


def test_sparse_vectors_are_refused() -> None:
    # Not through a file: PyTorch warns of sparse tensors in it.
    assert not _is_vector(torch.zeros(2).to_sparse())


def test_names_that_come_twice_get_ids_of_their_own() -> None:
    assert deduplicate_ids(["a", "b", "a", "a"]) == ["a", "b", "a#2", "a#3"]
    assert deduplicate_ids(["a", "a", "a#2", "a"]) == ["a", "a#3", "a#2", "a#4"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "is not valid JSON"),
        ("[" * 200_000, "is not valid JSON"),
        ("[]", "a list under 'sentences'"),
        ('{"sentences": [{"caption": "x"}]}', "entry 0 of 'sentences'"),
        ('{"sentences": [3]}', "entry 0 of 'sentences'"),
    ],
)
def test_msrvtt_json_that_cannot_be_used(tmp_path: Path, msrvtt_files: MsrvttOptions, content: str, why: str) -> None:
    (tmp_path / "data.json").write_text(content)
    with pytest.raises(DatasetError, match=f"data.json .*{why}|data.json: {why}"):
        msrvtt.open_training(msrvtt_files)


def test_options_that_are_not_given_are_named() -> None:
    cases: list[tuple[Callable[[Any], object], object, str]] = [
        (msrvtt.open_training, MsrvttOptions(), "Training on MSR-VTT needs train_csv"),
        (msrvtt.open_evaluation, MsrvttOptions(), "Evaluating on MSR-VTT needs test_csv"),
        (lsmdc.open_training, LsmdcOptions(), "Training on LSMDC needs train_features, or a store"),
        (youcook2.open_evaluation, Youcook2Options(), "needs test_pkl, or features with test_csv"),
        (howto100m.open_training, Howto100mOptions(), "Training on HowTo100M needs csv"),
    ]
    for open_set, options, named in cases:
        with pytest.raises(DatasetError, match=named):
            open_set(options)


def test_lsmdc_reads_clip_and_sixth_column(tmp_path: Path, store: FeatureLocation) -> None:
    lines = [f"{each}\t1\t2\t1\t2\t\"{each} says, it's late" for each in (*VIDEOS, "video1")]
    (tmp_path / "l.csv").write_text("\n".join(lines) + "\n")
    options = LsmdcOptions(train_csv=tmp_path / "l.csv", test_csv=tmp_path / "l.csv", features=store)
    held = lsmdc.open_evaluation(options)
    assert [clip.clip_id for clip in held.clips] == VIDEOS, "a clip with two sentences is one candidate"
    assert held.captions[2] == "\"video2 says, it's late"
    assert held.right_clips.tolist() == [0, 1, 2, 3, 4, 5, 1]
    assert len(lsmdc.open_training(options)) == 7
    (tmp_path / "l.csv").write_text("video1\t1\t2\n")
    with pytest.raises(DatasetError, match=r"l\.csv, line 1: it has 3 tab-separated columns"):
        lsmdc.open_training(options)


def test_youcook2_from_a_store_pools_spans(tmp_path: Path, store: FeatureLocation) -> None:
    rows = "video0,2,5.5,cut it\nvideo0,6,9,stir\nvideo3,00:00:01.5,00:00:04,fry\nvideo3,300,310,too late\n"
    (tmp_path / "y.csv").write_text("video_id,start,end,text\n" + rows)
    options = Youcook2Options(
        train_csv=tmp_path / "y.csv", test_csv=tmp_path / "y.csv", features=store, max_missing_share=0.3
    )
    held = youcook2.open_evaluation(options)
    assert held.captions == ("cut it", "stir", "fry")
    assert list(held.unusable.clips) == ["video3@300-310"]
    source = open_features(store)
    expected = pool_spans(source, "video0", [(2, 5.5), (6, 9)])
    assert np.array_equal(held.videos(0, 2), expected)
    together = youcook2.open_training(options.replaced(n_pair=5))
    assert len(together) == 2
    assert {clip_id.partition("@")[0] for clip_id in together.sample(0, 0, 1).clip_ids} == {"video3"}
    assert len(youcook2.open_training(options)) == 3
    with pytest.raises(MissingVideosError, match=r"(?s)1 clip of usable videos.*video3@300-310: it begins at 300"):
        youcook2.open_evaluation(options.replaced(max_missing_share=0.1))


@pytest.mark.parametrize(
    ("held", "why"),
    [
        ({}, "a non-empty list of clips, found a dict"),
        ([], "a non-empty list of clips, found an empty list"),
        ([{"id": "a_0", "caption": "x", "2d": np.zeros(2)}], "entry 0 lacks '3d'; each needs id, caption, 2d, 3d"),
        ([{"id": "a_0", "caption": "x", "2d": np.zeros(2), "3d": [1.0]}], "'3d' of entry 0 is not a vector of floats"),
        ([3], "entry 0 lacks 'id'"),
    ],
)
def test_youcook2_pickles_that_hold_something_else(tmp_path: Path, held: object, why: str) -> None:
    (tmp_path / "y.pkl").write_bytes(pickle.dumps(held))
    with pytest.raises(DatasetError, match=rf"y\.pkl.*{why}"):
        youcook2.open_training(Youcook2Options(train_pkl=tmp_path / "y.pkl"))


def test_n_pair_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="n_pair"):
        Youcook2Options(n_pair=0)
    for options in ({"n_pair": 0}, {"min_words": -1}):
        with pytest.raises(ValueError, match=next(iter(options))):
            Howto100mOptions(**options)  # type: ignore[arg-type]


def test_every_data_set_is_registered_under_its_name() -> None:
    assert set(DATASETS) == {
        "howto100m", "msrvtt", "youcook2", "lsmdc", "epic", "epic-retrieval", "captions", "crosstask",
    }  # fmt: skip
    for name, record in DATASETS.items():
        assert record.name == name
        record.options()


def test_sets_reach_worker_processes(
    msrvtt_files: MsrvttOptions, narrated: Howto100mOptions, store: FeatureLocation
) -> None:
    for training in (
        msrvtt.open_training(msrvtt_files),
        msrvtt.open_training(msrvtt_files.replaced(features=store)),
        howto100m.open_training(narrated),
    ):
        expected = training.sample(5, 6, 1)
        found = pickle.loads(pickle.dumps(training)).sample(5, 6, 1)  # noqa: S301 - written just now
        assert found.captions == expected.captions
        assert np.array_equal(found.video, expected.video)
