"""Rows that may show damaged pictures, left out of pooling; real stores, against pooling of the other rows by hand."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from reeldex.embedding.block_pooling import pool_groups, pool_spans, pool_whole
from reeldex.embedding.damaged_rows import Ranges, only_damaged, undamaged
from reeldex.embedding.datasets import captions, crosstask, epic_labels, howto100m
from reeldex.embedding.datasets.captions_options import CaptionsOptions
from reeldex.embedding.datasets.epic_options import EpicLabelOptions
from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.embedding.datasets.howto100m_options import Howto100mOptions
from reeldex.embedding.datasets.locations import open_features
from reeldex.embedding.errors import DatasetError, FeaturesError, MissingVideosError
from reeldex.embedding.features import StoreFeatures
from reeldex.embedding.training.checks import description
from tests.embedding.crosstask_files import write_crosstask
from tests.embedding.feature_files import RATES, VIDEOS, Rows, make_damaged_store, make_store, rows_of
from tests.embedding.slow_pooling import pool_rows

# 20 rows of 2-D, 30 of 3-D.
DAMAGE: dict[str, tuple[Ranges | None, Ranges | None]] = {
    "video1": (((2, 5), (9, 10), (18, 20)), ((4, 9),)),
    "video2": ((), ((0, 30),)),
    "video3": (None, None),
    "video4": (((0, 20),), ((0, 30),)),
    "video5": (((0, 10),), ((0, 15),)),
}


@pytest.fixture
def location(tmp_path: Path) -> FeatureLocation:
    store = make_damaged_store(tmp_path / "damaged", {each: rows_of(each) for each in VIDEOS}, DAMAGE)
    return FeatureLocation(store=store.path, skip_damaged=True)


def marked(video_id: str, stream: int) -> set[int]:
    ranges = DAMAGE.get(video_id, ((), ()))[stream] or ()
    return {row for first, stop in ranges for row in range(first, stop)}


def slow_pool(rows: tuple[Rows, Rows], video_id: str, chosen: tuple[list[int], list[int]]) -> npt.NDArray[np.float32]:
    """Pool these rows of both streams, except the damaged ones and those that do not exist."""
    pooled = []
    for stream, wanted in enumerate(chosen):
        kept = [row for row in wanted if row < len(rows[stream]) and row not in marked(video_id, stream)]
        pooled.append(pool_rows(rows[stream][kept]))
    return np.concatenate(pooled)


def test_parts_of_runs_against_sets_of_rows() -> None:
    generator = np.random.default_rng(3)
    for _ in range(300):
        bounds = sorted(generator.choice(31, size=2 * int(generator.integers(0, 4)), replace=False).tolist())
        damaged = tuple(zip(bounds[::2], bounds[1::2], strict=True))
        runs = [(first, first + int(generator.integers(0, 12))) for first in generator.integers(0, 34, 3).tolist()]
        bad = {row for first, stop in damaged for row in range(first, stop)}
        every = [row for first, stop in runs for row in range(first, min(stop, 30))]
        kept = [row for row in every if row not in bad]
        assert [row for first, stop in undamaged(runs, damaged, 30) for row in range(first, stop)] == kept
        assert only_damaged(runs, damaged, 30) == bool(every and not kept)


def test_damaged_rows_do_not_take_part_in_pooling(location: FeatureLocation) -> None:
    source = open_features(location)
    for held in (source, pickle.loads(pickle.dumps(source))):  # noqa: S301 - as a worker process gets it
        for video_id in ("video0", "video1", "video3"):
            rows = rows_of(video_id)
            spans = [(start, start + 3.5) for start in (0.0, 1.2, 3.0, 7.9, 14.0)]
            for span, found in zip(spans, pool_spans(held, video_id, spans), strict=True):
                wanted = [list(range(int(span[0] * rate), int(span[1] * rate) + 1)) for rate in RATES]
                assert np.array_equal(found, slow_pool(rows, video_id, (wanted[0], wanted[1])))
            whole = slow_pool(rows, video_id, (list(range(20)), list(range(30))))
            assert np.array_equal(pool_whole(held, video_id), whole)
            groups = [[(1, 4), (9, 12)], [(0, 5), (8, 10)]]
            joined = slow_pool(rows, video_id, ([1, 2, 3, 9, 10, 11], [0, 1, 2, 3, 4, 8, 9]))
            assert np.array_equal(pool_groups(held, video_id, groups), joined)
    every = open_features(location.replaced(skip_damaged=False))
    assert not np.array_equal(pool_whole(every, "video1"), pool_whole(source, "video1"))
    assert np.array_equal(pool_whole(every, "video4"), np.concatenate([pool_rows(each) for each in rows_of("video4")]))


def test_a_video_or_a_part_of_only_damaged_rows_is_not_read_as_zeros(location: FeatureLocation) -> None:
    source = open_features(location)
    assert [source.problem(each) for each in ("video0", "video1", "video3", "video5.mp4")] == [None] * 4
    assert source.problem("video2") == "all its 3d rows may show damaged pictures"
    assert source.problem("video4.mp4") == "all its 2d rows may show damaged pictures"
    with pytest.raises(FeaturesError, match="All 2d rows of a part of the video 'video1' may show damaged pictures"):
        pool_spans(source, "video1", [(2.0, 4.5)])
    assert not pool_spans(source, "video1", [(50.0, 51.0)]).any(), "beyond the end stays zero, as published"
    assert all(open_features(location.replaced(skip_damaged=False)).problem(each) is None for each in VIDEOS)


def test_unknown_damage_is_counted_once(
    tmp_path: Path, location: FeatureLocation, caplog: pytest.LogCaptureFixture
) -> None:
    source = open_features(location)
    pool_whole(source, "video3")
    assert [each.getMessage().partition(" does not ")[2] for each in caplog.records] == [
        (
            "record which rows of 1 of its 6 videos may show damaged pictures; all their rows are used. Extract these "
            "videos again to record them."
        )
    ]
    caplog.clear()
    imported = make_store(tmp_path, {each: rows_of(each) for each in VIDEOS})
    rows = pool_whole(StoreFeatures(imported, skip_damaged=True), "video1")
    assert "which rows of 6 of its 6 videos" in caplog.text
    caplog.clear()
    assert np.array_equal(rows, pool_whole(StoreFeatures(imported), "video1"))
    assert not caplog.records, "without the option nothing is looked at"


def test_clips_and_videos_of_only_damaged_rows_are_counted(
    tmp_path: Path, location: FeatureLocation, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "c.csv").write_text(
        "video,start,end,text,split\nvideo0,2,4,a,test\nvideo1,2,4.5,b,test\nvideo1,4,8,c,test\nvideo1,19.5,20,d,test\n"
        "video2,2,4,e,test\nvideo1,20.3,21,f,test\n"
    )
    options = CaptionsOptions(captions=tmp_path / "c.csv", features=location, max_missing_share=0.8)
    with caplog.at_level(logging.WARNING):
        held = captions.open_evaluation(options)
    assert held.captions == ("a", "c")
    assert held.unusable.reasons == {"video2": "all its 3d rows may show damaged pictures"}
    damaged = "all its 2d rows may show damaged pictures"
    assert held.unusable.clips == dict.fromkeys(("video1@2-4.5", "video1@19.5-20", "video1@20.3-21"), damaged)
    assert not held.unusable.complete
    assert "video1@2-4.5: all its 2d rows may show damaged pictures" in caplog.text
    assert np.array_equal(
        held.videos(1, 2)[0], slow_pool(rows_of("video1"), "video1", ([*range(4, 9)], [*range(6, 13)]))
    )
    with pytest.raises(MissingVideosError, match="all its 2d rows may show damaged pictures"):
        captions.open_evaluation(options.replaced(max_missing_share=0.5))
    everything = options.replaced(features=location.replaced(skip_damaged=False))
    assert captions.open_evaluation(everything).unusable.complete


def test_segments_of_only_damaged_rows_are_counted(tmp_path: Path, location: FeatureLocation) -> None:
    (tmp_path / "labels").mkdir()
    labels = ["wash"] * 4 + ["cut"] * 5 + ["stir"] * 21
    (tmp_path / "labels/video1.txt").write_text("\n".join(labels))
    options = EpicLabelOptions(test_labels=tmp_path / "labels", features=location, labels="verb", max_missing_share=0.5)
    held = epic_labels.open_evaluation(options.replaced(clips_per_sample=1))
    assert held.captions == ("wash", "stir")
    assert held.unusable.clips == {"video1@rows4-9": "all its 3d rows may show damaged pictures"}
    expected = slow_pool(rows_of("video1"), "video1", ([*range(6, 20)], [*range(9, 30)]))
    assert np.array_equal(held.videos(1, 2)[0], expected)


def test_howto100m_draws_no_window_of_only_damaged_rows(
    tmp_path: Path, narrated: Howto100mOptions, location: FeatureLocation
) -> None:
    spoken = json.loads((tmp_path / "captions.json").read_text())
    spoken["video5"] = {"start": [0, 6, 12], "end": [6, 9.5, 18], "text": ["a", "b", "c"]}
    (tmp_path / "captions.json").write_text(json.dumps(spoken))
    options = narrated.replaced(features=location, max_missing_share=0.5, min_seconds=1.0, min_words=1)
    training = howto100m.open_training(options)
    assert training.video_ids == ("video0", "video1", "video3", "video5")
    for epoch in range(4):
        sample = training.sample(1, epoch, 3)
        assert set(sample.clip_ids) == {"video5@12-18"}
        assert sample.video.any(axis=1).all()
    assert training.clips([3])[0][0].captions == ("c",)
    every = howto100m.open_training(options.replaced(features=location.replaced(skip_damaged=False)))
    assert np.array_equal(every.sample(1, 0, 0).video, training.sample(1, 0, 0).video), "draws stay as they are"
    spoken["video5"] = {"start": [0, 6], "end": [6, 9.5], "text": ["a", "b"]}
    (tmp_path / "captions.json").write_text(json.dumps(spoken))
    training = howto100m.open_training(options)
    said = "all rows in the windows of its captions may show damaged pictures"
    assert training.unusable.reasons["video5"] == said
    assert training.video_ids == ("video0", "video1", "video3")


def test_a_resumed_training_must_choose_the_same(narrated: Howto100mOptions, location: FeatureLocation) -> None:
    options = narrated.replaced(features=location, max_missing_share=0.5)
    assert description(howto100m.open_training(options), 1)["damaged_rows"] == "skipped"
    every = options.replaced(features=location.replaced(skip_damaged=False))
    assert "damaged_rows" not in description(howto100m.open_training(every), 1)


def test_where_rows_cannot_be_skipped(tmp_path: Path, location: FeatureLocation) -> None:
    with pytest.raises(ValueError, match=r"skip_damaged needs a store: \.npy files do not record"):
        FeatureLocation(folder_2d=tmp_path, folder_3d=tmp_path, skip_damaged=True)
    with pytest.raises(DatasetError, match=r"CrossTask places steps in every second .* without skip_damaged"):
        crosstask.open_evaluation(write_crosstask(tmp_path).replaced(features=location))
