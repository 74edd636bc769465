from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reeldex.embedding.block_pooling import pool_spans
from reeldex.embedding.datasets import howto100m
from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.embedding.datasets.howto100m_options import Howto100mOptions
from reeldex.embedding.datasets.locations import open_features
from reeldex.embedding.errors import FeaturesError
from tests.embedding.feature_files import VIDEOS, rows_of, write_npy


def test_howto100m_reads_the_windows_of_drawn_captions(narrated: Howto100mOptions) -> None:
    training = howto100m.open_training(narrated)
    sample = training.sample(1, 0, 4)
    assert sample.video.shape == (8, 10)
    assert narrated.features
    source = open_features(narrated.features)
    for clip_id, caption, vector in zip(sample.clip_ids, sample.captions, sample.video, strict=True):
        video_id, _, span = clip_id.partition("@")
        start, end = map(float, span.split("-"))
        assert video_id == "video4"
        assert np.array_equal(vector, pool_spans(source, "video4", [(start, end)])[0])
        assert end - start >= 5
        assert caption in {"a b it's", "b it's a", "c b it's", "d c", "b it's c"}
    again = training.sample(1, 0, 4)
    assert again.captions == sample.captions
    assert training.sample(1, 1, 4).captions != sample.captions


def test_howto100m_from_npy_files_with_and_without_paths(tmp_path: Path, narrated: Howto100mOptions) -> None:
    folders = write_npy(tmp_path / "npy", {f"deep/{each}.mp4": rows_of(each) for each in VIDEOS})
    npy = narrated.replaced(features=FeatureLocation(folder_2d=folders[0], folder_3d=folders[1]))
    expected = howto100m.open_training(narrated).sample(3, 0, 2)
    assert np.array_equal(howto100m.open_training(npy).sample(3, 0, 2).video, expected.video)
    (tmp_path / "h.csv").write_text("video_id,path\n" + "".join(f"{each}, deep/{each}.mp4.npy\n" for each in VIDEOS))
    assert np.array_equal(howto100m.open_training(npy).sample(3, 0, 2).video, expected.video)
    (tmp_path / "h.csv").write_text("video_id,path\nvideo0,deep/video0.mp4.npy\nvideo1,elsewhere.npy\n")
    training = howto100m.open_training(npy.replaced(max_missing_share=0.5))
    assert "there is no file" in training.unusable.reasons["video1"]


def test_howto100m_leaves_out_videos_without_usable_captions(tmp_path: Path, narrated: Howto100mOptions) -> None:
    spoken = json.loads((tmp_path / "captions.json").read_text())
    del spoken["video0"]
    spoken["video1"]["start"] = [0, 7, 3, 12]
    (tmp_path / "captions.json").write_text(json.dumps(spoken))
    training = howto100m.open_training(narrated.replaced(max_missing_share=0.5))
    assert list(training.video_ids) == VIDEOS[2:]
    assert "no captions of the video 'video0'" in training.unusable.reasons["video0"]
    assert "caption 2 starts at 3.0 seconds, before" in training.unusable.reasons["video1"]


def test_captions_beyond_the_features_are_zeros_and_said_once(
    tmp_path: Path, narrated: Howto100mOptions, caplog: pytest.LogCaptureFixture
) -> None:
    spoken = {each: {"start": [500], "end": [510], "text": ["late"]} for each in VIDEOS}
    (tmp_path / "captions.json").write_text(json.dumps(spoken))
    training = howto100m.open_training(narrated)
    for epoch in range(3):
        assert not training.sample(0, epoch, 1).video.any()
    assert caplog.text.count("8 captions drawn from the video 'video1' are beyond the end") == 1


def test_a_damaged_file_stops_with_its_name(tmp_path: Path, narrated: Howto100mOptions) -> None:
    folders = write_npy(tmp_path / "npy", {each: rows_of(each) for each in VIDEOS})
    npy = narrated.replaced(features=FeatureLocation(folder_2d=folders[0], folder_3d=folders[1]))
    training = howto100m.open_training(npy)
    (folders[1] / "video5.npy").write_bytes(b"damaged")
    with pytest.raises(FeaturesError, match=r"video5\.npy cannot be read"):
        training.sample(0, 0, 5)


def test_rows_without_a_video_are_left_out_alone(
    tmp_path: Path, narrated: Howto100mOptions, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "h.csv").write_text("video_id,rank\n" + "".join(f"{each},1\n" for each in VIDEOS) + ",1\nvideo9,\n")
    spoken = "".join(f"{each},0,9,cut it\n" for each in VIDEOS)
    (tmp_path / "captions.csv").write_text(f"video_id,start,end,text\n,1,2,whose\n{spoken},3,4,whose\n")
    options = narrated.replaced(captions=tmp_path / "captions.csv", max_rank=2)
    training = howto100m.open_training(options)
    assert training.video_ids == tuple(VIDEOS)
    assert [place.rpartition("/")[2] for place in training.unusable.rows] == [
        "h.csv, line 8, column 'video_id'",
        "h.csv, line 9, column 'rank'",
    ]
    assert "captions.csv: 2 captions without a video or a possible time left out" in caplog.text
    assert training.captions.captions("video3").texts == ("cut it",)
