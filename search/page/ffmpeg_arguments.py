"""What ffmpeg is told: arguments for a picture, and for a piece of a video that browsers can play. Pure functions."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reeldex.search.page.options import FfmpegProgram

_DURATION = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", re.MULTILINE)
_VIDEO = re.compile(r"^ +Stream #0:\d+.*?: Video: (?!.*\(attached pic\))(\w+)(.*)$", re.MULTILINE)
_RATE = re.compile(r", ([\d.]+) fps")
_COPYABLE_PIXELS = re.compile(r"\b(yuv420p|yuvj420p)\b")
_SIZE = re.compile(r", (\d+)x(\d+)[ ,\[]")
_COLOURS = re.compile(r"\b(bt709|bt470bg|smpte170m|smpte240m|bt2020\w*|fcc|gbr)\b")
_AUDIO_RATE = 48_000

# Where a file does not say how its colours are meant, Chromium showed a small one with BT.601 and joined pieces of it,
# even copied ones, with BT.709. So pieces say it: (name, number in H.264). That HD means BT.709 is convention.
_HD_HEIGHT = 720
_HD_COLOURS, _SD_COLOURS = ("bt709", 1), ("smpte170m", 6)

_BEFORE = ("-v", "error", "-nostdin", "-hide_banner")


class Way(StrEnum):
    """How a piece is made: packets as they are in another container, or decoded and encoded anew."""

    COPIED = "copied"
    TRANSCODED = "transcoded"


@dataclass(frozen=True)
class Described:
    """What ffmpeg says of a file; seconds and frames per second are None where it says nothing of them.

    `guessed_colours` are the name and number of the colours to assume, None where the file says them itself.
    """

    duration_seconds: float | None
    codec: str
    frames_per_second: float | None
    copyable: bool
    guessed_colours: tuple[str, int] | None = None

    def ways(self) -> tuple[Way, ...]:
        """Return the ways to play it, the cheaper first."""
        return (Way.COPIED, Way.TRANSCODED) if self.copyable else (Way.TRANSCODED,)


@dataclass(frozen=True)
class Piece:
    """The part of a video from `start_seconds` to `end_seconds`."""

    start_seconds: float
    end_seconds: float

    def __post_init__(self) -> None:
        if not 0 <= self.start_seconds < self.end_seconds < math.inf:
            raise ValueError(f"{self.start_seconds} to {self.end_seconds} s is no part of a video")

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end_seconds - self.start_seconds


def piece_number(number: int, piece_seconds: int, duration_seconds: float) -> Piece | None:
    """Return the piece of this number, counted from 0, of a video; None behind its end."""
    start = number * piece_seconds
    if number < 0 or start >= duration_seconds:
        return None
    return Piece(float(start), min(float(start + piece_seconds), duration_seconds))


def describing(ffmpeg: FfmpegProgram, path: str) -> tuple[str, ...]:
    """Return the command that makes ffmpeg describe a file on its standard error; it always ends with status 1."""
    return (*ffmpeg.command, "-nostdin", "-hide_banner", *ffmpeg.input_arguments(path))


def parse_description(text: str) -> Described | None:
    """Return what ffmpeg's description of a file says; None if it names no moving picture."""
    video = _VIDEO.search(text)
    if video is None:
        return None
    duration = _DURATION.search(text)
    rate = _RATE.search(video[2])
    size = _SIZE.search(video[2] + ",")
    guessed = _HD_COLOURS if size and int(size[2]) >= _HD_HEIGHT else _SD_COLOURS
    return Described(
        duration_seconds=int(duration[1]) * 3600 + int(duration[2]) * 60 + float(duration[3]) if duration else None,
        codec=video[1],
        frames_per_second=float(rate[1]) if rate else None,
        # Other kinds of H.264 (10 bits, 4:2:2) are as unplayable in an MP4 as they were before.
        copyable=video[1] == "h264" and _COPYABLE_PIXELS.search(video[2]) is not None,
        guessed_colours=None if _COLOURS.search(video[2]) else guessed,
    )


def picture(ffmpeg: FfmpegProgram, path: str, at_seconds: float, width: int, cpu_seconds: float) -> tuple[str, ...]:
    """Return the command that writes the frame at `at_seconds` to its standard output as JPEG, `width` pixels wide.

    The seek is exact: the key frame before the moment may show another scene, and this picture stands for the moment.
    """
    return (
        *(*ffmpeg.command, *_BEFORE, "-timelimit", str(math.ceil(cpu_seconds))),
        *("-ss", f"{at_seconds:.3f}", *ffmpeg.input_arguments(path)),
        *("-map", "0:V:0", "-frames:v", "1", "-vf", f"scale={width}:-2:flags=bicubic", "-q:v", "4"),
        *("-f", "mjpeg", "pipe:1"),
    )


def piece(ffmpeg: FfmpegProgram, path: str, part: Piece, way: Way, shape: PieceShape) -> tuple[str, ...]:
    """Return the command that writes one piece to its standard output, as fragmented MP4.

    A transcoded piece begins at its time 0 and lasts exactly as long as `part`, whatever frames and sound the file
    has there: gaps at the joints would stop the player. A copied one begins with the key frame before
    `part`, and its times are those of the file.
    """
    start, end = f"{part.start_seconds:.3f}", f"{part.end_seconds:.3f}"
    opening = (*ffmpeg.command, *_BEFORE, "-timelimit", str(math.ceil(shape.cpu_seconds)), "-ss", start)
    streams = ("-map", "0:V:0", "-map", "0:a:0?", "-sn", "-dn", "-map_metadata", "-1")
    flags = "frag_keyframe+empty_moov+default_base_moof"
    if way is Way.COPIED:
        tags: tuple[str, ...] = ()
        if shape.colours:
            number = shape.colours[1]
            names = ("colour_primaries", "transfer_characteristics", "matrix_coefficients")
            tags = ("-bsf:v", "h264_metadata=" + ":".join(f"{name}={number}" for name in names))
        return (
            *(*opening, "-copyts", "-start_at_zero", *ffmpeg.input_arguments(path), "-to", end, *streams),
            *("-c:v", "copy", *tags, "-c:a", "aac", "-ac", "2", "-b:a", "128k"),
            *("-avoid_negative_ts", "disabled", "-use_editlist", "0"),
            *("-movflags", f"{flags}+frag_discont", "-f", "mp4", "pipe:1"),
        )
    video = (
        f"fps={shape.frames_per_second:g}:start_time=0,tpad=stop=-1:stop_mode=clone,"
        # Both sides even, and no larger than they are.
        f"scale=-2:'2*trunc(min({shape.height},ih)/2)':flags=bilinear,setsar=1,format=yuv420p"
    )
    if shape.colours:
        name = shape.colours[0]
        video += f",setparams=color_primaries={name}:color_trc={name}:colorspace={name}"
    return (
        *(*opening, *ffmpeg.input_arguments(path), "-t", f"{part.seconds:.3f}", *streams),
        *("-vf", video, "-c:v", "libx264", "-preset", "ultrafast", "-crf", "23", "-bf", "0", "-g", "60"),
        *("-af", f"aresample={_AUDIO_RATE}:async=1:first_pts=0,apad"),
        *("-c:a", "aac", "-ac", "2", "-b:a", "128k"),
        *("-movflags", flags, "-f", "mp4", "pipe:1"),
    )


@dataclass(frozen=True)
class PieceShape:
    """What pieces look like, and the seconds of processor one may cost; `colours` is None where the file says them."""

    height: int
    frames_per_second: float
    cpu_seconds: float
    colours: tuple[str, int] | None = None


def shape_of(described: Described, height: int, cpu_seconds: float) -> PieceShape:
    """Return the shape for a video: its own frame rate, kept between 5 and 30 a second."""
    rate = described.frames_per_second
    frames_per_second = 25.0 if rate is None else min(30.0, max(5.0, rate))
    return PieceShape(height, frames_per_second, cpu_seconds, described.guessed_colours)
