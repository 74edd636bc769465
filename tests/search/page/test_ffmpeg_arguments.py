from __future__ import annotations

import math
from pathlib import Path

import pytest

from reeldex.cli.page import describe
from reeldex.extractors.description import parse_description
from reeldex.extractors.frames import VideoMetadata
from reeldex.search.page import ffmpeg_arguments
from reeldex.search.page.ffmpeg_arguments import (
    Delivery,
    MediaInfo,
    MediaSegment,
    SegmentShape,
    media_info,
    segment_at,
    shape_of,
)
from reeldex.search.page.options import FfmpegProgram, PageOptions

FFMPEG = FfmpegProgram(("/usr/bin/ffmpeg",), ("-protocol_whitelist", "file", "-format_whitelist", "mov,avi"), describe)

SD = ("smpte170m", 6)


def facts(video: str) -> VideoMetadata:
    """Return what a description of a video stream says, as the page receives it."""
    text = (
        "Input #0, matroska,webm, from 'INPUT':\n"
        "  Duration: 00:01:02.50, start: 0.000000, bitrate: 80 kb/s\n"
        f"  Stream #0:0: Video: {video}\n"
        "  Stream #0:1(eng): Audio: aac (LC), 44100 Hz, mono, fltp (default)\n"
    )
    return parse_description("x", text)


@pytest.mark.parametrize(
    ("video", "rate", "remuxable", "assumed_colours"),
    [
        ("h264 (High), yuv420p(progressive), 640x360, 29.97 fps, 1k tbn", 29.97, True, SD),
        ("h264 (High 10), yuv420p10le, 640x360, 25 fps", 25.0, False, SD),
        ("h264 (High 4:2:2), yuv422p, 640x360, 25 fps", 25.0, False, SD),
        ("hevc (Main) (hev1 / 0x31766568), yuv420p, 640x360, 25 fps", 25.0, False, SD),
        ("h264 (High), yuv420p(progressive), 1280x720 [SAR 1:1 DAR 16:9], 25 fps", 25.0, True, ("bt709", 1)),
        ("h264 (High), yuv420p(tv, bt709, progressive), 640x360, 25 fps", 25.0, True, None),
        ("h264 (High), yuv420p(bt470bg/bt470bg/smpte170m, top first (swapped)), 640x360, 25 fps", 25.0, True, None),
        ("mpeg4 (Simple Profile), yuv420p, 64x64", None, False, SD),
    ],
)
def test_a_description_says_what_can_be_remuxed(
    video: str, rate: float | None, *, remuxable: bool, assumed_colours: tuple[str, int] | None
) -> None:
    expected = MediaInfo(62.5, rate, remuxable=remuxable, assumed_colours=assumed_colours)
    assert media_info(facts(video)) == expected


@pytest.mark.parametrize(
    ("number", "part"),
    [(0, MediaSegment(0, 10)), (1, MediaSegment(10, 20)), (2, MediaSegment(20, 25.5)), (3, None), (-1, None)],
)
def test_segments_cover_a_video_and_end_with_it(number: int, part: MediaSegment | None) -> None:
    assert segment_at(number, 10, 25.5) == part


def test_a_video_of__segments__has_no_empty_one_behind_it() -> None:
    assert segment_at(1, 10, 10.0) is None


@pytest.mark.parametrize(("start", "end"), [(5, 5), (5, 4), (-1, 2), (0, math.inf), (math.nan, 1)])
def test_a_part_that_is_none_cannot_be_made(start: float, end: float) -> None:
    with pytest.raises(ValueError, match="not a part"):
        MediaSegment(start, end)


@pytest.mark.parametrize(("rate", "kept"), [(None, 25), (1, 5), (24, 24), (59.94, 30)])
def test_frame_rates_are_kept_within_bounds(rate: float | None, kept: float) -> None:
    assert shape_of(MediaInfo(1, rate, remuxable=False), 720, 9).frames_per_second == kept


@pytest.mark.parametrize("delivery", Delivery)
def test_the_limits_of_input_stand_before_every_input(delivery: Delivery) -> None:
    commands = [
        ffmpeg_arguments.probe_command(FFMPEG, "-v.avi"),
        ffmpeg_arguments.picture_command(FFMPEG, "-v.avi", 12.5, 480, 20),
        ffmpeg_arguments.segment_command(FFMPEG, "-v.avi", MediaSegment(10, 20), delivery, SegmentShape(720, 25, 60)),
    ]
    for command in commands:
        assert command.count("-i") == 1
        at = command.index("-i")
        assert command[at - 4 : at] == FFMPEG.input_options
        assert command[at + 1] == f"file:{Path.cwd()}/-v.avi"
    assert all("-timelimit" in command for command in commands[1:])


def test_ffmpeg_without_limits_and_options_without_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="protocol_whitelist"):
        FfmpegProgram(("/usr/bin/ffmpeg",), (), describe)
    with pytest.raises(ValueError, match="empty"):
        FfmpegProgram(("",), FFMPEG.input_options, describe)
    with pytest.raises(ValueError, match="cache_bytes"):
        PageOptions(FFMPEG, tmp_path, cache_bytes=0)
    with pytest.raises(ValueError, match="refresh_seconds"):
        PageOptions(FFMPEG, tmp_path, refresh_seconds=math.nan)
    with pytest.raises(ValueError, match="host name"):
        PageOptions(FFMPEG, tmp_path, host_names=())
