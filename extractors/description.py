"""Parses container metadata from ffmpeg's description of its input; shared by extraction and the search page."""

from __future__ import annotations

import os
import re

from reeldex.extractors import ffmpeg
from reeldex.extractors.colour import parse_colour
from reeldex.extractors.errors import FailureReason, ProbeError
from reeldex.extractors.frames import VideoMetadata
from reeldex.extractors.video_tracks import VideoTrack, candidates, video_tracks

_CONTAINER = re.compile(r"^Input #0, (.+?), from ", re.MULTILINE)
_CLOCK = r"(\d+):(\d\d):(\d\d(?:\.\d+)?)"
_DURATION = re.compile(rf"^  Duration: {_CLOCK}(?:, start: (-?[\d.]+))?", re.MULTILINE)
# Matroska: the end of a stream, counted from 0 as the file's duration.
_STREAM_END = re.compile(rf"^ +DURATION +: {_CLOCK}", re.MULTILINE)
# Containers without a duration of their own: ffmpeg takes it from the last timestamps, or guesses it from the size.
_WITHOUT_DURATION = {"mpegts", "mpeg", "mpegvideo", "ogg", "h264", "hevc", "m4v"}
_GUESSED = "Estimating duration from bitrate"
_AUDIO_STREAM = re.compile(r"^ +Stream #0:\d+.*?: Audio: ", re.MULTILINE)
_ANY_STREAM = re.compile(r"^ +Stream #0:\d+", re.MULTILINE)
# Properties in parentheses, such as `(tv, bt709, progressive)`, can contain parentheses themselves.
_PIXEL_FORMAT = re.compile(r", (\w+)(?:\((.*?)\))?, \d+x\d+[ ,\n]")
# The shape of a pixel that the container states follows that of the codec, if they differ.
_PIXEL_ASPECT = re.compile(r"\bSAR (\d+):(\d+) DAR")
_FRAME_RATE = re.compile(r", ([\d.]+)(k?) fps")
_ROTATION = re.compile(r"^ +[Dd]isplay ?[Mm]atrix: rotation of (-?[\d.]+) degrees", re.MULTILINE)
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


def parse_description(path: str, text: str, track: VideoTrack | None = None) -> VideoMetadata:
    """Return the metadata in ffmpeg's description `text` of one input, which is named INPUT there.

    They are those of `track`, or of the track that players choose. Raises ProbeError with the reason `unreadable`,
    `too_large` or `no_video_stream`.
    """
    container = require_container(path, text)
    if track is None:
        preferred = candidates(video_tracks(text))
        if not preferred:
            raise no_video(path, text)
        track = preferred[0]
    # A stream's side data is between its line and the next stream's line.
    next_stream = _ANY_STREAM.search(text, track.end)
    end = next_stream.start() if next_stream else len(text)
    side_data = text[track.end : end]
    rotation = _ROTATION.search(side_data)
    pixel_format = _PIXEL_FORMAT.search(track.described + "\n")
    duration = _DURATION.search(text)
    stream_end = _STREAM_END.search(text, track.end, end)
    rate = _FRAME_RATE.search(track.described)
    return VideoMetadata(
        container=container,
        codec=track.codec,
        width=track.width,
        height=track.height,
        rotation_degrees=float(rotation[1]) if rotation else 0.0,
        frames_per_second=float(rate[1]) * (1000 if rate[2] else 1) if rate else None,
        duration_seconds=_seconds(duration) if duration else None,
        pixel_format=pixel_format[1] if pixel_format else None,
        colour=parse_colour((pixel_format and pixel_format[2]) or "", side_data),
        pixel_aspect=_pixel_aspect(track.described),
        start_seconds=float(duration[4] or 0.0) if duration else 0.0,
        stream_end_seconds=_seconds(stream_end) if stream_end else None,
        has_own_duration=container.split(",")[0] not in _WITHOUT_DURATION and _GUESSED not in text,
        stream=track.stream,
    )


def _seconds(clock: re.Match[str]) -> float:
    return int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])


def require_container(path: str, text: str) -> str:
    """Return ffmpeg's name of the container in its description. Raises ProbeError if it could not open the file."""
    container = _CONTAINER.search(text)
    if container is None:
        raise _refusal(path, text)
    return container[1]


def has_sound(text: str) -> bool:
    """Whether the file has an audio stream, in ffmpeg's description."""
    return _AUDIO_STREAM.search(text) is not None


def no_video(path: str, text: str) -> ProbeError:
    """Return the error for a file without a video track that ffmpeg can read."""
    if ffmpeg.TOO_LARGE.search(text) and video_tracks(text):
        return _refusal(path, text)
    held = "audio or data, but no video stream" if _ANY_STREAM.search(text) else "no stream"
    return ProbeError(
        path,
        FailureReason.NO_VIDEO_STREAM,
        f"The file ({require_container(path, text)}) contains {held} that ffmpeg can read.",
        "Remove it from the folder or list, or replace it if it should contain video.",
    )


def _pixel_aspect(stream: str) -> float:
    width, height = next(reversed(_PIXEL_ASPECT.findall(stream)), ("1", "1"))
    return int(width) / int(height) if int(width) and int(height) else 1.0


def _refusal(path: str, text: str) -> ProbeError:
    if too_large := ffmpeg.TOO_LARGE.search(text):
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
