"""What becomes of HDR, damaged and odd files in a store."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from reeldex.extractors import ffmpeg
from reeldex.flows.config.pipeline import parse_config
from reeldex.flows.extraction.prepare import prepare
from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo, Reeldex
from tests.videos import cached_video, run_ffmpeg

ONE = ("--weights", "random", "--extractors", "wide2d")
SPACE = "wide2d.random"
_HDR = (
    "format=yuv420p10le,setparams=range=tv:color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc",
    *("-c:v", "libx265", "-x265-params"),
    "log-level=none:pools=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc",
)


def make(path: Path, filters: str, *options: str, size: str = "160x120", seconds: int = 2) -> Path:
    source = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=10:duration={seconds}"]
    return cached_video(path, *source, "-vf", filters, *options)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    video = make(tmp_path / "videos" / "damaged.mp4", "format=yuv420p,noise=alls=20", "-g", "10", seconds=8)
    content = bytearray(video.read_bytes())
    for at in range(len(content) // 2, len(content) // 2 + 3000, 100):
        content[at] ^= 0x55
    video.write_bytes(content)
    return video


@pytest.mark.slow
def test_hdr_is_marked_and_a_store_holds_either_mapped_features_or_not(reeldex: Reeldex, tmp_path: Path) -> None:
    videos, plain, mapped = make(tmp_path / "videos" / "hdr.mp4", *_HDR).parent, tmp_path / "plain", tmp_path / "mapped"
    make(videos / "sdr.mp4", "format=yuv420p")
    assert reeldex("extract", videos, "--store", plain, *ONE).status == 0
    assert reeldex("extract", videos, "--store", mapped, *ONE, "--tone-map").status == 0
    status = reeldex("status", plain, "--failures")
    assert "hdr" in status.out
    assert "without tone mapping" in status.out
    first, second = FeatureStore(plain), FeatureStore(mapped)
    outcome = second.outcome("hdr")
    assert outcome is not None
    assert (outcome.notes, "mapped to BT.709" in outcome.message) == (("hdr",), True)
    assert "decode" not in first.fingerprint(SPACE)
    assert second.fingerprint(SPACE)["decode"] == {"tone_map": "bt709.knee1"}
    colours = {"range": "tv", "matrix": "bt2020nc", "primaries": "bt2020", "transfer": "smpte2084"}
    assert first.rows(SPACE, "hdr").colour == colours
    assert (first.read(SPACE, "hdr") != second.read(SPACE, "hdr")).any()
    assert (first.read(SPACE, "sdr") == second.read(SPACE, "sdr")).all()
    make(videos / "new.mp4", "format=yuv420p")
    for store, option in ((plain, "--tone-map"), (mapped, "--no-tone-map")):
        answer = reeldex("extract", videos, "--store", store, *ONE, option)
        assert answer.status == 2
        assert "decode" in answer.err


@pytest.mark.slow
def test_damaged_rows_are_kept_with_the_features(reeldex: Reeldex, tmp_path: Path, damaged: Path) -> None:
    store = tmp_path / "store"
    assert reeldex("extract", damaged.parent, "--store", store, *ONE).status == 0
    opened = FeatureStore(store)
    ranges = opened.damaged_rows(SPACE, "damaged")
    assert ranges
    assert opened.rows(SPACE, "damaged").damaged_rows == ranges
    assert len(opened.read(SPACE, "damaged")) == 8
    assert ranges[0][0] > 0
    outcome = opened.outcome("damaged")
    assert outcome is not None
    assert outcome.notes == ("damaged_rows",)
    assert outcome.decode_error_count > 0
    assert f"{ranges[0][0]}-{ranges[0][1] - 1}" in outcome.message
    assert reeldex("status", store, "--json").json["noted"] == {"damaged_rows": 1}


@pytest.mark.slow
def test_a_rerun_uses_the_options_of_decoding_by_itself(
    reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo
) -> None:
    make_video(tmp_path / "videos" / "a.mp4")
    store = tmp_path / "store"
    assert reeldex("extract", tmp_path / "videos", "--store", store, *ONE, "--square-pixels").status == 0
    before = FeatureStore(store).read(SPACE, "a").tobytes()
    refused = reeldex("rerun", store, "--shards", "0", "--tone-map")
    assert refused.status == 2
    assert "decode.square_pixels = True, this run has decode.tone_map" in refused.err
    # As if the run had been killed before its first video was finished.
    for file in (*store.glob("features/*/*.h5"), *store.glob("outcomes/*")):
        file.unlink()
    assert reeldex("rerun", store).status == 0
    found = FeatureStore(store)
    assert found.fingerprint(SPACE)["decode"] == {"square_pixels": True}
    assert found.read(SPACE, "a").tobytes() == before


@pytest.mark.slow
def test_intact_video_has_no_damaged_rows(reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "videos" / "a.mp4")
    assert reeldex("extract", tmp_path / "videos", "--store", tmp_path / "store", *ONE).status == 0
    assert FeatureStore(tmp_path / "store").damaged_rows(SPACE, "a") == ()


@pytest.mark.slow
def test_files_that_are_not_video_or_too_narrow_say_so(reeldex: Reeldex, tmp_path: Path) -> None:
    videos = make(tmp_path / "videos" / "strip.mkv", "format=yuv420p", "-c:v", "ffv1", size="4096x8").parent
    make(videos / "photo.mp4", "null", "-frames:v", "1", "-f", "mjpeg")
    make(videos / "motion.mjpeg", "null", "-c:v", "mjpeg", "-f", "mjpeg", seconds=1)
    (videos / "words.mp4").write_text("1\n00:00:01,000 --> 00:00:02,000\nWords\n")
    answer = reeldex("extract", videos, "--store", tmp_path / "store", *ONE)
    assert answer.status == 1
    found = {
        each["video_id"]: each
        for each in reeldex("status", tmp_path / "store", "--failures", "--json").json["failures"]
    }
    assert {name: each["reason"] for name, each in found.items()} == {
        "strip": "too_large",
        "photo": "no_video_stream",
        "words": "unreadable",
    }
    assert "max_aspect_ratio" in found["strip"]["message"]
    assert "JPEG" in found["photo"]["message"]
    assert "subtitles" in found["words"]["message"]
    assert FeatureStore(tmp_path / "store").ids() == ["motion"]


@pytest.mark.slow
def test_the_track_is_named_and_a_requested_one_makes_other_features(reeldex: Reeldex, tmp_path: Path) -> None:
    small = make(tmp_path / "made" / "small.mp4", "format=yuv420p,hue=s=0", size="80x60")
    large = make(tmp_path / "made" / "large.mp4", "format=yuv420p")
    videos, store, second = tmp_path / "videos", tmp_path / "store", tmp_path / "second"
    videos.mkdir()
    run_ffmpeg("-i", small, "-i", large, "-map", "0", "-map", "1", "-c", "copy", videos / "two.mp4")
    assert reeldex("extract", videos, "--store", store, *ONE).status == 0
    assert "1 video track" in reeldex("status", store).out
    assert "Video track 2 (h264, 160 x 120) was decoded" in reeldex("status", store, "--failures").out
    assert reeldex("status", store, "--json").json["noted"] == {"video_track": 1}
    assert reeldex("extract", videos, "--store", second, *ONE, "--video-track", 1).status == 0
    assert FeatureStore(second).fingerprint(SPACE)["decode"] == {"video_track": 1}
    assert (FeatureStore(store).read(SPACE, "two") != FeatureStore(second).read(SPACE, "two")).any()
    make(videos / "new.mp4", "format=yuv420p")
    refused = reeldex("extract", videos, "--store", store, *ONE, "--video-track", 1)
    assert refused.status == 2
    assert "video_track" in refused.err
    failed = reeldex("extract", videos, "--store", tmp_path / "third", *ONE, "--video-track", 2)
    assert failed.status == 1
    assert "new.mp4" in failed.out
    assert "1 no_video_stream" in failed.out


@pytest.mark.slow
def test_a_store_of_two_versions_of_ffmpeg_is_named(
    reeldex: Reeldex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    videos, store = make(tmp_path / "videos" / "a.mp4", "format=yuv420p").parent, tmp_path / "store"
    assert reeldex("extract", videos, "--store", store, *ONE).status == 0
    assert "WARNING" not in reeldex("status", store).out
    make(videos / "b.mp4", "format=yuv420p")
    # A second ffmpeg of another version is not at hand on every machine.
    monkeypatch.setattr(ffmpeg, "version", lambda: "0.1-test")
    config = parse_config({"extract": {"weights": "random", "extractors": ["wide2d"]}}, "test")
    with caplog.at_level("WARNING", "reeldex.flows.extraction.prepare"):
        logging.getLogger("reeldex").propagate = True
        prepare((str(videos),), str(store), config)
    assert "0.1-test is used here" in caplog.text
