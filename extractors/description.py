"""Parses container metadata from ffmpeg's description of its input; shared by extraction and the search page."""

from __future__ import annotations

import os
import re

from reeldex.extractors import ffmpeg
from reeldex.extractors.colour import parse_colour
from reeldex.extractors.errors import FailureReason, ProbeError
from reeldex.extractors.frames import VideoMetadata

_CONTAINER = re.compile(r"^Input #0, (.+?), from ", re.MULTILINE)
_DURATION = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", re.MULTILINE)
_VIDEO_STREAM = re.compile(r"^ +Stream #0:\d+.*?: Video: (?!.*\(attached pic\))(.+)$", re.MULTILINE)
_ANY_STREAM = re.compile(r"^ +Stream #0:\d+", re.MULTILINE)
_SIZE = re.compile(r", (\d+)x(\d+)[ ,\n]")
# Properties in parentheses, such as `(tv, bt709, progressive)`, can contain parentheses themselves.
_PIXEL_FORMAT = re.compile(r", (\w+)(?:\((.*?)\))?, \d+x\d+[ ,\n]")
# The shape of a pixel that the container states follows that of the codec, if they differ.
_PIXEL_ASPECT = re.compile(r"\bSAR (\d+):(\d+) DAR")
_FRAME_RATE = re.compile(r", ([\d.]+)(k?) fps")
_ROTATION = re.compile(r"^ +[Dd]isplay ?[Mm]atrix: rotation of (-?[\d.]+) degrees", re.MULTILINE)
_TOO_LARGE = re.compile(r"Picture size (\d+)x(\d+) exceeds specified max pixel count")
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")
_QUOTED_CHARACTERS = 400


def read_description(path: str, printed: bytes) -> VideoMetadata:
    """Return the metadata in ffmpeg's standard error output for the file at `path`.

    Raises ProbeError with the reason `unreadable`, `too_large` or `no_video_stream`.
    """
    return parse_description(path, without_name(path, printed))


def without_name(path: str, printed: bytes) -> str:
    """Return ffmpeg's output as text, with INPUT in place of the file's name.

    The name comes first in the description, and may contain anything, including line breaks and fake streams.
    """
    return printed.replace(os.fsencode(ffmpeg.input_url(path)), b"INPUT").decode("utf-8", "replace")


def is_excluded(text: str) -> bool:
    """Whether ffmpeg refused its input since the format is not among `ffmpeg.CONTAINERS`."""
    return _CONTAINER.search(text) is None and "not on whitelist" in text.lower()


def parse_description(path: str, text: str) -> VideoMetadata:
    """Return the metadata in ffmpeg's description `text` of one input, which is named INPUT there.

    Raises ProbeError with the reason `unreadable` or `no_video_stream`.
    """
    container = _CONTAINER.search(text)
    if container is None:
        raise _refusal(path, text)
    video = _VIDEO_STREAM.search(text)
    size = _SIZE.search(video[1] + "\n") if video else None
    if video is not None and size is None and _TOO_LARGE.search(text):
        raise _refusal(path, text)
    if video is None or size is None or int(size[1]) == 0 or int(size[2]) == 0:
        held = "audio or data, but no video stream" if _ANY_STREAM.search(text) else "no stream"
        raise ProbeError(
            path,
            FailureReason.NO_VIDEO_STREAM,
            f"The file ({container[1]}) contains {held} that ffmpeg can read.",
            "Remove it from the folder or list, or replace it if it should contain video.",
        )
    # A stream's side data is between its line and the next stream's line.
    next_stream = _ANY_STREAM.search(text, video.end())
    side_data = text[video.end() : next_stream.start() if next_stream else len(text)]
    rotation = _ROTATION.search(side_data)
    pixel_format = _PIXEL_FORMAT.search(video[1] + "\n")
    duration = _DURATION.search(text)
    rate = _FRAME_RATE.search(video[1])
    return VideoMetadata(
        container=container[1],
        codec=video[1].split()[0].rstrip(","),
        width=int(size[1]),
        height=int(size[2]),
        rotation_degrees=float(rotation[1]) if rotation else 0.0,
        frames_per_second=float(rate[1]) * (1000 if rate[2] else 1) if rate else None,
        duration_seconds=(int(duration[1]) * 3600 + int(duration[2]) * 60 + float(duration[3]) if duration else None),
        pixel_format=pixel_format[1] if pixel_format else None,
        colour=parse_colour((pixel_format and pixel_format[2]) or "", side_data),
        pixel_aspect=_pixel_aspect(video[1]),
    )


def _pixel_aspect(stream: str) -> float:
    width, height = next(reversed(_PIXEL_ASPECT.findall(stream)), ("1", "1"))
    return int(width) / int(height) if int(width) and int(height) else 1.0


def _refusal(path: str, text: str) -> ProbeError:
    if too_large := _TOO_LARGE.search(text):
        return ProbeError(
            path,
            FailureReason.TOO_LARGE,
            f"A frame of {too_large[1]} x {too_large[2]} pixels far exceeds the limit.",
            "Scale the video down, or raise compute.limits.max_frame_pixels.",
        )
    said = "; ".join(_ADDRESS.sub("", line).strip() for line in text.splitlines() if line.strip())
    return ProbeError(
        path,
        FailureReason.UNREADABLE,
        f"ffmpeg cannot open the file as a video; it said: {said[:_QUOTED_CHARACTERS] or 'nothing'}.",
        "It may not be a video, or be damaged or truncated: replace or remove it.",
    )
