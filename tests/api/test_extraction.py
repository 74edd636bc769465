"""`reeldex.extract` without a store, held against what a store would hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import reeldex
from reeldex.api.extraction import VideoError
from reeldex.errors import UsageError
from reeldex.extractors.engine import extract as run_engine
from reeldex.extractors.errors import UnknownExtractorError
from reeldex.extractors.frames import VideoFeatures, VideoSource
from reeldex.extractors.network import load_network
from reeldex.extractors.options import EngineOptions, NetworkOptions
from tests.conftest import MakeVideo


@pytest.mark.slow
def test_features_and_times_of_one_video(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=3)
    video = reeldex.extract(path, ["resnet152"], weights="random", device="cpu")
    network = load_network("resnet152", NetworkOptions(weights="random", device="cpu"))  # type: ignore[arg-type]
    (expected,) = run_engine([VideoSource("a", str(path))], [network], EngineOptions())
    assert isinstance(expected, VideoFeatures)
    features = video["resnet152"]
    assert features.rows.tobytes() == expected.rows["resnet152"].tobytes()
    assert features.rows.shape == (3, 2048)
    assert features.rows.dtype == np.float16
    assert features.row_seconds.tolist() == [0.0, 1.0, 2.0]
    assert (video.status, video.reason, video.path) == ("ok", None, path)
    assert video.duration_seconds == pytest.approx(3.0)
    assert repr(video) == f"ExtractedVideo({str(path)!r}, 3.0 s, resnet152 (3, 2048))"


@pytest.mark.slow
def test_of_several_videos_a_broken_one_is_a_result_and_order_is_kept(tmp_path: Path, make_video: MakeVideo) -> None:
    good = make_video(tmp_path / "good.mp4", seconds=1)
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    videos = reeldex.extract([broken, good, good], ["resnet152"], weights="random", device="cpu")
    assert [video.status for video in videos] == ["failed", "ok", "ok"]
    assert [video.path for video in videos] == [broken, good, good]
    assert videos[0].reason == "unreadable"
    assert videos[0].message
    assert videos[0].features == {}
    assert "failed: unreadable" in repr(videos[0])
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        videos[0]["resnet152"]
    with pytest.raises(VideoError, match=r"broken\.mp4: unreadable: .+") as failure:
        reeldex.extract(broken, ["resnet152"], weights="random", device="cpu")
    assert failure.value.video.reason == "unreadable"
    assert reeldex.extract([], ["resnet152"], weights="random", device="cpu") == []


def test_bad_arguments_are_refused_before_anything_is_decoded() -> None:
    with pytest.raises(UnknownExtractorError, match="Did you mean 'resnet152'"):
        reeldex.extract("absent.mp4", ["resnet153"])
    with pytest.raises(UsageError, match="each once"):
        reeldex.extract("absent.mp4", ["resnet152", "resnet152"])
    with pytest.raises(UsageError, match="each once"):
        reeldex.extract("absent.mp4", [])
    with pytest.raises(UsageError, match=r"Invalid options: weights: Input should be .* \(got 'nonsense'\)"):
        reeldex.extract("absent.mp4", ["resnet152"], weights="nonsense")  # type: ignore[call-overload]
    with pytest.raises(UsageError, match=r"https://host/a\.mp4 is at a URL\. Download it"):
        reeldex.extract(["here.mp4", "https://host/a.mp4"])
