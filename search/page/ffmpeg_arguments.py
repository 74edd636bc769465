"""ffmpeg commands for a picture and for a video segment that browsers can play. Pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reeldex.search.page.options import FfmpegProgram, VideoFacts

_REMUXABLE_PIXELS = frozenset({"yuv420p", "yuvj420p"})
_AUDIO_RATE = 48_000

# Where a file does not say how its colours are meant, Chromium showed a small one with BT.601 and joined segments of
# it, even remuxed ones, with BT.709. So segments say it: (name, number in H.264). That HD means BT.709 is convention.
_HD_HEIGHT = 720
_HD_COLOURS, _SD_COLOURS = ("bt709", 1), ("smpte170m", 6)

_BEFORE = ("-v", "error", "-nostdin", "-hide_banner")


class Delivery(StrEnum):
    """How a segment is made: packets copied into another container, or decoded and re-encoded."""

    REMUX = "remux"
    TRANSCODE = "transcode"


@dataclass(frozen=True)
class MediaInfo:
    """What determines how a file is played; seconds and frames per second are None where the file does not state them.

    `assumed_colours` are the name and number of the colours to assume, None where the file states them. `stream` is the
    video stream to play, counted from 0 among all streams of the file.
    """

    duration_seconds: float | None
    frames_per_second: float | None
    remuxable: bool
    assumed_colours: tuple[str, int] | None = None
    stream: int = 0

    def deliveries(self) -> tuple[Delivery, ...]:
        """Return the possible deliveries, the cheapest first."""
        return (Delivery.REMUX, Delivery.TRANSCODE) if self.remuxable else (Delivery.TRANSCODE,)


@dataclass(frozen=True)
class MediaSegment:
    """The part of a video from `start_seconds` to `end_seconds`."""

    start_seconds: float
    end_seconds: float

    def __post_init__(self) -> None:
        if not 0 <= self.start_seconds < self.end_seconds < math.inf:
            raise ValueError(f"{self.start_seconds} to {self.end_seconds} s is not a part of a video")

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end_seconds - self.start_seconds


def segment_at(number: int, segment_seconds: int, duration_seconds: float) -> MediaSegment | None:
    """Return the segment of this number, counted from 0, of a video; None past its end."""
    start = number * segment_seconds
    if number < 0 or start >= duration_seconds:
        return None
    return MediaSegment(float(start), min(float(start + segment_seconds), duration_seconds))


def probe_command(ffmpeg: FfmpegProgram, path: str) -> tuple[str, ...]:
    """Return the command with which ffmpeg describes a file on standard error; its exit status is always 1."""
    return (*ffmpeg.command, "-nostdin", "-hide_banner", *ffmpeg.input_arguments(path))


def media_info(facts: VideoFacts) -> MediaInfo:
    """Return the media information that playing a video needs."""
    assumed = _HD_COLOURS if facts.height >= _HD_HEIGHT else _SD_COLOURS
    return MediaInfo(
        duration_seconds=facts.duration_seconds,
        frames_per_second=facts.frames_per_second,
        # Other kinds of H.264 (10 bits, 4:2:2) are as unplayable in an MP4 as they were before.
        remuxable=facts.codec == "h264" and facts.pixel_format in _REMUXABLE_PIXELS,
        assumed_colours=None if facts.colour_space else assumed,
        stream=facts.stream,
    )


def picture_command(
    ffmpeg: FfmpegProgram, path: str, at_seconds: float, width: int, cpu_seconds: float
) -> tuple[str, ...]:
    """Return the command that writes the frame at `at_seconds` to its standard output as JPEG, `width` pixels wide.

    ffmpeg itself chooses the track, the largest of those marked as default, which spares a process that describes it.
    The seek is exact: the key frame before the moment may show another scene.
    """
    return (
        *(*ffmpeg.command, *_BEFORE, "-timelimit", str(math.ceil(cpu_seconds))),
        *("-ss", f"{at_seconds:.3f}", *ffmpeg.input_arguments(path)),
        *("-frames:v", "1", "-vf", f"scale={width}:-2:flags=bicubic", "-q:v", "4"),
        *("-f", "mjpeg", "pipe:1"),
    )


def segment_command(
    ffmpeg: FfmpegProgram, path: str, part: MediaSegment, delivery: Delivery, shape: SegmentShape
) -> tuple[str, ...]:
    """Return the command that writes one segment to its standard output, as fragmented MP4.

    A transcoded segment begins at its time 0 and lasts exactly as long as `part`, whatever frames and sound the file
    has there: gaps at the joints would stop the player. A remuxed one begins with the key frame before
    `part`, and its times are those of the file.
    """
    start, end = f"{part.start_seconds:.3f}", f"{part.end_seconds:.3f}"
    opening = (*ffmpeg.command, *_BEFORE, "-timelimit", str(math.ceil(shape.cpu_seconds)), "-ss", start)
    streams = ("-map", f"0:{shape.stream}", "-map", "0:a:0?", "-sn", "-dn", "-map_metadata", "-1")
    flags = "frag_keyframe+empty_moov+default_base_moof"
    if delivery is Delivery.REMUX:
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
        # Even width and height, never enlarged.
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
class SegmentShape:
    """What segments of a video stream look like, and the CPU seconds one may cost.

    `colours` is None where the file says them.
    """

    height: int
    frames_per_second: float
    cpu_seconds: float
    colours: tuple[str, int] | None = None
    stream: int = 0


def shape_of(info: MediaInfo, height: int, cpu_seconds: float) -> SegmentShape:
    """Return the shape for a video: its own frame rate, clamped to 5 to 30 per second."""
    rate = info.frames_per_second
    frames_per_second = 25.0 if rate is None else min(30.0, max(5.0, rate))
    return SegmentShape(height, frames_per_second, cpu_seconds, info.assumed_colours, info.stream)
