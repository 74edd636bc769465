import math
from dataclasses import replace
from pathlib import Path

import pytest

from reeldex.search.page import ffmpeg_arguments
from reeldex.search.page.ffmpeg_arguments import (
    Described,
    Piece,
    PieceShape,
    Way,
    parse_description,
    piece_number,
    shape_of,
)
from reeldex.search.page.options import FfmpegProgram, PageOptions

FFMPEG = FfmpegProgram(("/usr/bin/ffmpeg",), ("-protocol_whitelist", "file", "-format_whitelist", "mov,avi"))

SD = ("smpte170m", 6)
HEVC = Described(62.5, "hevc", 25.0, copyable=False, guessed_colours=SD)
RARE_H264 = replace(HEVC, codec="h264")


def description(video: str, duration: str = "00:01:02.50") -> str:
    return (
        "Input #0, matroska,webm, from 'file:/x.mkv':\n"
        f"  Duration: {duration}, start: 0.000000, bitrate: 80 kb/s\n"
        f"  Stream #0:0: Video: {video}\n"
        "  Stream #0:1(eng): Audio: aac (LC), 44100 Hz, mono, fltp (default)\n"
    )


@pytest.mark.parametrize(
    ("video", "described"),
    [
        (
            "h264 (High), yuv420p(progressive), 640x360, 29.97 fps, 1k tbn",
            Described(62.5, "h264", 29.97, copyable=True, guessed_colours=SD),
        ),
        (
            "h264 (High 10), yuv420p10le, 640x360, 25 fps",
            RARE_H264,
        ),
        (
            "h264 (High 4:2:2), yuv422p, 640x360, 25 fps",
            RARE_H264,
        ),
        (
            "hevc (Main) (hev1 / 0x31766568), yuv420p, 640x360, 25 fps",
            Described(62.5, "hevc", 25.0, copyable=False, guessed_colours=SD),
        ),
        (
            "h264 (High), yuv420p(progressive), 1280x720 [SAR 1:1 DAR 16:9], 25 fps",
            Described(62.5, "h264", 25.0, copyable=True, guessed_colours=("bt709", 1)),
        ),
        (
            "h264 (High), yuv420p(tv, bt709, progressive), 640x360, 25 fps",
            Described(62.5, "h264", 25.0, copyable=True, guessed_colours=None),
        ),
        ("mpeg4 (Simple Profile), yuv420p, 64x64", Described(62.5, "mpeg4", None, copyable=False, guessed_colours=SD)),
    ],
)
def test_a_description_says_what_can_be_copied(video: str, described: Described) -> None:
    assert parse_description(description(video)) == described


def test_a_cover_picture_is_no_video_and_an_unknown_length_is_said_to_be_unknown() -> None:
    assert parse_description(description("mjpeg (Baseline), yuvj420p, 300x300, 90k tbr (attached pic)")) is None
    unknown = parse_description(description("h264 (High), yuv420p, 64x64, 25 fps", duration="N/A"))
    assert unknown is not None
    assert unknown.duration_seconds is None


@pytest.mark.parametrize(
    ("number", "part"),
    [(0, Piece(0, 10)), (1, Piece(10, 20)), (2, Piece(20, 25.5)), (3, None), (-1, None)],
)
def test_pieces_cover_a_video_and_end_with_it(number: int, part: Piece | None) -> None:
    assert piece_number(number, 10, 25.5) == part


def test_a_video_of_whole_pieces_has_no_empty_one_behind_it() -> None:
    assert piece_number(1, 10, 10.0) is None


@pytest.mark.parametrize(("start", "end"), [(5, 5), (5, 4), (-1, 2), (0, math.inf), (math.nan, 1)])
def test_a_part_that_is_none_cannot_be_made(start: float, end: float) -> None:
    with pytest.raises(ValueError, match="no part"):
        Piece(start, end)


@pytest.mark.parametrize(("rate", "kept"), [(None, 25), (1, 5), (24, 24), (59.94, 30)])
def test_frame_rates_are_kept_within_bounds(rate: float | None, kept: float) -> None:
    assert shape_of(Described(1, "hevc", rate, copyable=False), 720, 9).frames_per_second == kept


@pytest.mark.parametrize("way", Way)
def test_the_limits_of_input_stand_before_every_input(way: Way) -> None:
    commands = [
        ffmpeg_arguments.describing(FFMPEG, "-v.avi"),
        ffmpeg_arguments.picture(FFMPEG, "-v.avi", 12.5, 480, 20),
        ffmpeg_arguments.piece(FFMPEG, "-v.avi", Piece(10, 20), way, PieceShape(720, 25, 60)),
    ]
    for command in commands:
        assert command.count("-i") == 1
        at = command.index("-i")
        assert command[at - 4 : at] == FFMPEG.input_options
        assert command[at + 1] == f"file:{Path.cwd()}/-v.avi"
    assert all("-timelimit" in command for command in commands[1:])


def test_ffmpeg_without_limits_and_options_without_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="protocol_whitelist"):
        FfmpegProgram(("/usr/bin/ffmpeg",), ())
    with pytest.raises(ValueError, match="empty"):
        FfmpegProgram(("",), FFMPEG.input_options)
    with pytest.raises(ValueError, match="cache_bytes"):
        PageOptions(FFMPEG, tmp_path, cache_bytes=0)
    with pytest.raises(ValueError, match="refresh_seconds"):
        PageOptions(FFMPEG, tmp_path, refresh_seconds=math.nan)
    with pytest.raises(ValueError, match="host name"):
        PageOptions(FFMPEG, tmp_path, host_names=())
