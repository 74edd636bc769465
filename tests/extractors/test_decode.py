"""Real videos through a real ffmpeg, with everything that is odd about real videos."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reeldex.extractors import resnet152, resnext101
from reeldex.extractors.decode import decode
from reeldex.extractors.decoding_process import DecodeStoppedError
from reeldex.extractors.errors import DecodeError, ExtractionError, FailureReason
from reeldex.extractors.frames import DecodeSummary, FrameBatch, VideoSource
from reeldex.extractors.options import DecodeLimits
from reeldex.extractors.probe import probe
from tests.conftest import MakeVideo
from tests.extractors.rotation import write_rotated
from tests.extractors.slow_twin import slow_frames
from tests.extractors.unchanged_frames import passthrough_arguments
from tests.processes import processes_that_name
from tests.videos import run_ffmpeg

SPECS = [resnet152.SPEC, resnext101.SPEC]
Frames = dict[str, np.ndarray[Any, Any]]


def decoded(path: Path | str, limits: DecodeLimits | None = None) -> tuple[Frames, DecodeSummary]:
    """All frames by extractor, and the summary."""
    parts: dict[str, list[np.ndarray[Any, Any]]] = {spec.name: [] for spec in SPECS}
    summary = None
    for item in decode(VideoSource("video", str(path)), SPECS, limits or DecodeLimits()):
        if isinstance(item, DecodeSummary):
            summary = item
        else:
            parts[item.extractor].append(item.frames)
    assert summary is not None
    return {name: np.concatenate(frames) for name, frames in parts.items()}, summary


def late_start(folder: Path, make_video: MakeVideo) -> Path:
    """Sound from the beginning, the picture three seconds later."""
    picture = make_video(folder / "picture.mp4", seconds=3)
    sound = ["-f", "lavfi", "-i", "sine=duration=6"]
    run_ffmpeg("-itsoffset", "3", "-i", str(picture), *sound, "-map", "0:v", "-map", "1:a", str(folder / "late.mkv"))
    return folder / "late.mkv"


def variable_rate(folder: Path, make_video: MakeVideo) -> Path:
    picture = make_video(folder / "even.mp4", seconds=4, rate=30)
    thinned = "select='not(mod(n\\,3))+lt(n\\,40)'"
    run_ffmpeg("-i", str(picture), "-vf", thinned, *passthrough_arguments(), str(folder / "vfr.mp4"))
    return folder / "vfr.mp4"


def ten_bit(folder: Path, make_video: MakeVideo) -> Path:
    picture = make_video(folder / "eight.mp4", seconds=2)
    run_ffmpeg("-i", str(picture), "-pix_fmt", "yuv420p10le", "-c:v", "ffv1", str(folder / "ten.mkv"))
    return folder / "ten.mkv"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "height", "width"),
    [
        (lambda folder, make_video: make_video(folder / "a.mp4", seconds=2.7, size="320x180"), 180, 320),
        (lambda folder, make_video: make_video(folder / "a.mp4", seconds=2.2, size="90x160"), 160, 90),
        (lambda folder, make_video: make_video(folder / "a.avi", seconds=1.6, size="161x121", rate=10), 121, 161),
        (late_start, 120, 160),
        (variable_rate, 120, 160),
        (ten_bit, 120, 160),
    ],
    ids=["landscape", "portrait", "odd size", "late start", "variable rate", "10 bit"],
)
def test_one_decode_gives_what_a_decode_for_each_gives(
    tmp_path: Path, make_video: MakeVideo, make: Callable[[Path, MakeVideo], Path], height: int, width: int
) -> None:
    path = make(tmp_path, make_video)
    frames, summary = decoded(path)
    for spec in SPECS:
        twin = slow_frames(path, spec, height, width)
        assert frames[spec.name].shape == twin.shape
        assert (frames[spec.name] == twin).all()
    assert not summary.truncated
    assert summary.error_count == 0


def test_a_picture_that_starts_late_keeps_its_place_in_time(tmp_path: Path, make_video: MakeVideo) -> None:
    frames, summary = decoded(late_start(tmp_path, make_video))
    assert {name: len(each) for name, each in frames.items()} == {"resnet152": 6, "resnext101_3d": 144}
    three_seconds = frames["resnext101_3d"][:73]
    assert (three_seconds == three_seconds[0]).all(), "its first sample stands until the picture moves"
    assert summary.decoded_seconds == 6.0


def test_a_rotated_video_is_seen_upright(tmp_path: Path, make_video: MakeVideo) -> None:
    plain = make_video(tmp_path / "plain.mp4", size="320x180")
    rotated = write_rotated(plain, tmp_path / "rotated.mp4")
    frames, summary = decoded(rotated)
    assert frames["resnet152"].shape[1:] == (398, 224, 3)
    assert summary.metadata.display_size == (320, 180)
    upright = np.rot90(decoded(plain)[0]["resnet152"][0])
    assert np.abs(frames["resnet152"][0].astype(int) - upright).mean() < 12


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "rate"), [(0.01, 100), (0.1, 50), (0.48, 25)])
def test_the_shortest_video_has_a_frame_for_each_extractor(
    tmp_path: Path, make_video: MakeVideo, seconds: float, rate: int
) -> None:
    frames, _ = decoded(make_video(tmp_path / "short.mp4", seconds=seconds, rate=rate))
    assert len(frames["resnet152"]) == 1
    assert len(frames["resnext101_3d"]) == max(1, round(seconds * 24))


def test_a_size_that_changes_midway_is_scaled_to_the_first(tmp_path: Path, make_video: MakeVideo) -> None:
    both = b"".join(
        make_video(tmp_path / f"{size}.h264", seconds=2, size=size).read_bytes() for size in ("160x120", "120x160")
    )
    (tmp_path / "both.h264").write_bytes(both)
    frames, summary = decoded(tmp_path / "both.h264")
    assert frames["resnet152"].shape == (4, 224, 298, 3)
    assert frames["resnext101_3d"].shape == (96, 112, 112, 3)
    assert summary.metadata.duration_seconds is None, "a raw stream does not say how long it is"


@pytest.mark.slow
def test_a_file_cut_off_is_marked_and_keeps_its_frames(tmp_path: Path, make_video: MakeVideo) -> None:
    whole = make_video(tmp_path / "whole.mkv", seconds=12, size="320x240")
    assert not decoded(whole)[1].truncated
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    frames, summary = decoded(cut)
    assert summary.truncated
    assert 1 <= len(frames["resnet152"]) < 12
    assert summary.metadata.duration_seconds == pytest.approx(12, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "a b.mp4",
        "-i.mp4",
        'it\'s "quoted".mp4',
        "file:x.mp4",
        "http:x.mp4",
        "50%d%%.mp4",
        "line\nbreak Stream #0:9: Video: x.mp4",
        "\n  Duration: 09:09:09.00.mp4",
        "größe 日本.mp4",
        os.fsdecode(b"caf\xe9.mp4"),
        "pipe:1.mp4",
        "[0]; x, y.mp4",
    ],
)
def test_a_file_may_have_any_name(tmp_path: Path, make_video: MakeVideo, name: str) -> None:
    plain = make_video(tmp_path / "plain.mp4", seconds=0.5)
    odd = tmp_path / name
    odd.write_bytes(plain.read_bytes())
    frames, summary = decoded(odd)
    assert len(frames["resnet152"]) == 1
    assert summary.metadata.duration_seconds == pytest.approx(0.5, abs=0.05)


def test_a_relative_path_counts_from_the_working_folder(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_video(tmp_path / "-odd:name.mp4", seconds=0.5)
    monkeypatch.chdir(tmp_path)
    assert len(decoded("-odd:name.mp4")[0]["resnet152"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n", ".m3u8"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n", ".mp4"),
        ("ffconcat version 1.0\nfile '{}'\n", ".mp4"),
        ("ffconcat version 1.0\nfile '{}'\n", ".ffconcat"),
    ],
)
def test_a_file_that_names_other_files_is_refused(
    tmp_path: Path, make_video: MakeVideo, text: str, suffix: str
) -> None:
    make_video(tmp_path / "other.mp4", seconds=0.5)
    script = tmp_path / f"script{suffix}"
    script.write_text(text.format("other.mp4"), encoding="utf-8")
    with pytest.raises(ExtractionError) as raised:
        decoded(script)
    assert raised.value.reason is FailureReason.UNREADABLE


def test_a_cover_picture_is_no_video(tmp_path: Path, make_video: MakeVideo) -> None:
    cover, sound = tmp_path / "cover.png", tmp_path / "sound.mp3"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x64", "-frames:v", "1", str(cover))
    tags = ["-map", "0", "-map", "1", "-disposition:v", "attached_pic", "-c:v", "png"]
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-i", str(cover), *tags, str(sound))
    with pytest.raises(ExtractionError) as raised:
        decoded(sound)
    assert raised.value.reason is FailureReason.NO_VIDEO_STREAM


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (DecodeLimits(max_frame_pixels=160 * 120), FailureReason.TOO_LARGE),
        (DecodeLimits(timeout_seconds=1e-3), FailureReason.TIMEOUT),
    ],
)
def test_what_a_video_may_cost_is_limited(
    tmp_path: Path, make_video: MakeVideo, limits: DecodeLimits, reason: FailureReason
) -> None:
    with pytest.raises(ExtractionError) as raised:
        decoded(make_video(tmp_path / "a.mp4"), limits)
    assert raised.value.reason is reason


@pytest.mark.slow
def test_a_slow_reader_of_frames_is_not_the_videos_fault(tmp_path: Path, make_video: MakeVideo) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=8)
    items = decode(VideoSource("a", str(video)), SPECS, DecodeLimits(timeout_seconds=5.0), chunk_bytes=1)
    for count, _ in enumerate(items):
        if count < 3:
            time.sleep(2.0)  # time is tested: together longer than the limit
    assert count > 3


def test_a_stream_that_decodes_to_nothing_is_a_decode_error(tmp_path: Path, make_video: MakeVideo) -> None:
    whole = bytearray(make_video(tmp_path / "whole.mp4", seconds=1).read_bytes())
    start = whole.index(b"mdat") + 4
    end = whole.index(b"moov") - 4
    whole[start:end] = bytes(end - start)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(whole)
    with pytest.raises(DecodeError) as raised:
        decoded(broken)
    assert raised.value.reason is FailureReason.DECODE_ERROR


def test_chunks_are_bounded_and_hold_whole_clips(tmp_path: Path, make_video: MakeVideo) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=6)
    limit = 2_000_000
    sizes: dict[str, list[int]] = {spec.name: [] for spec in SPECS}
    for item in decode(VideoSource("a", str(video)), SPECS, DecodeLimits(), chunk_bytes=limit):
        if isinstance(item, FrameBatch):
            assert item.frames.nbytes <= limit
            sizes[item.extractor].append(len(item.frames))
    assert sum(sizes["resnext101_3d"]) == 144
    assert all(size % 16 == 0 for size in sizes["resnext101_3d"])
    assert len(sizes["resnext101_3d"]) > 1


@pytest.mark.slow
def test_closing_early_leaves_no_ffmpeg(tmp_path: Path, make_video: MakeVideo) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=20)
    items = decode(VideoSource("a", str(video)), SPECS, DecodeLimits(), chunk_bytes=1)
    next(items)
    assert processes_that_name(str(video))
    items.close()
    assert processes_that_name(str(video)) == []


def open_before_and_after_decoding(video: Path) -> tuple[list[str], list[str]]:
    """Return the numbers of this process's open files before and after decoding to the end, in part, and in vain."""
    decoded(video)
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - without an open folder of its own
    decoded(video)
    items = decode(VideoSource("a", str(video)), SPECS, DecodeLimits(), chunk_bytes=1)
    next(items)
    items.close()
    with pytest.raises(ExtractionError):
        decoded(video, DecodeLimits(max_frame_pixels=1))
    return before, sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.mark.slow
def test_decoding_to_the_end_or_to_an_error_leaves_no_file_open(tmp_path: Path, make_video: MakeVideo) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=2)
    # In a process of its own: threads of other tests open and close files, too.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        before, after = process.submit(open_before_and_after_decoding, video).result(120)
    assert after == before


def test_a_decode_that_stalls_is_given_up(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=20)
    # Known beforehand, so that the limit strikes in the decoding and not already in the probing.
    metadata = probe(str(video))
    monkeypatch.setattr("reeldex.extractors.decode.probe", lambda *_: metadata)
    with pytest.raises(DecodeError) as raised:
        decoded(video, DecodeLimits(timeout_seconds=1e-3))
    assert raised.value.reason is FailureReason.TIMEOUT
    assert processes_that_name(str(video)) == []


@pytest.mark.slow
def test_a_silent_ffmpeg_does_not_keep_a_stop_waiting(tmp_path: Path, make_video: MakeVideo) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=20)
    stop = threading.Event()
    items = decode(VideoSource("a", str(video)), SPECS, DecodeLimits(), stop, chunk_bytes=1)
    next(items)
    for process in processes_that_name(str(video)):
        os.kill(process, signal.SIGSTOP)  # as when its disk no longer answers
    threading.Timer(0.5, stop.set).start()
    with pytest.raises(DecodeStoppedError):
        list(items)
    assert processes_that_name(str(video)) == []
