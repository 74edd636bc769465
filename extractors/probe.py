"""Container metadata of a file, read from ffmpeg's own description of its input.

The same program describes and decodes: nothing here needs ffprobe, which not every ffmpeg brings.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import time

from reeldex.extractors import ffmpeg, ffmpeg_process
from reeldex.extractors.errors import FailureReason, ProbeError
from reeldex.extractors.ffmpeg_process import require_memory
from reeldex.extractors.frames import VideoMetadata
from reeldex.extractors.options import DecodeLimits

_CONTAINER = re.compile(r"^Input #0, (.+?), from ", re.MULTILINE)
_DURATION = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", re.MULTILINE)
_VIDEO_STREAM = re.compile(r"^ +Stream #0:\d+.*?: Video: (?!.*\(attached pic\))(.+)$", re.MULTILINE)
_ANY_STREAM = re.compile(r"^ +Stream #0:\d+", re.MULTILINE)
_SIZE = re.compile(r", (\d+)x(\d+)[ ,\n]")
_FRAME_RATE = re.compile(r", ([\d.]+)(k?) fps")
_ROTATION = re.compile(r"^ +[Dd]isplay ?[Mm]atrix: rotation of (-?[\d.]+) degrees", re.MULTILINE)
_TOO_LARGE = re.compile(r"Picture size (\d+)x(\d+) exceeds specified max pixel count")
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")
_QUOTED_CHARACTERS = 400

# What a probe may take, unless told otherwise: seconds of wall-clock time.
PROBE_TIMEOUT_SECONDS = 60.0


def probe(
    path: str, timeout_seconds: float = PROBE_TIMEOUT_SECONDS, limits: DecodeLimits | None = None
) -> VideoMetadata:
    """Return what the container of the file at `path` says of its first video stream.

    Raises ProbeError with the reason `missing`, `unreadable`, `no_video_stream`, `timeout`, `too_large` or, if ffmpeg
    itself is killed, `decode_error`.
    """
    require_readable_file(path)
    limits = limits or DecodeLimits()
    source = ffmpeg.local_input(limits.max_frame_pixels)
    command = ffmpeg.with_path(source.output("-", format="null").get_args(), path)
    inputs_only = command[: command.index("-i") + 2]
    started = time.monotonic()
    try:
        answer = subprocess.run(
            [*ffmpeg_process.command(limits.ffmpeg_memory_bytes), "-hide_banner", "-nostdin", *inputs_only],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,  # describing an input without naming an output always ends with status 1
        )
    except subprocess.TimeoutExpired as error:
        raise ProbeError(
            path,
            FailureReason.TIMEOUT,
            f"ffmpeg did not describe the file within {time.monotonic() - started:.0f} seconds.",
            "Check that its disk or network share answers, or raise limits.timeout_seconds.",
        ) from error
    # The name comes first in what ffmpeg prints, and a name may hold anything, line breaks too.
    text = answer.stderr.replace(os.fsencode(ffmpeg.input_url(path)), b"INPUT").decode("utf-8", "replace")
    if answer.returncode < 0:
        require_memory(ProbeError, path, text, limits.ffmpeg_memory_bytes)
        raise ProbeError(
            path,
            FailureReason.DECODE_ERROR,
            f"ffmpeg was killed by signal {-answer.returncode} while it described the file.",
            "If the machine ran out of memory, use fewer decoders. If the file is large, raise "
            "limits.ffmpeg_memory_bytes. Else it may be malformed.",
        )
    try:
        return parse_description(path, text)
    except ProbeError:
        # Only now: the title of a sound file may say anything.
        require_memory(ProbeError, path, text, limits.ffmpeg_memory_bytes)
        raise


def require_readable_file(path: str) -> None:
    """Raise ProbeError unless `path` is a regular, non-empty file that can be opened for reading."""
    try:
        status = os.stat(path)  # noqa: PTH116 - paths may hold bytes that are not UTF-8
        # Looked at before it is opened: opening a named pipe would wait for somebody to write to it.
        if not stat.S_ISREG(status.st_mode):
            raise ProbeError(
                path, FailureReason.UNREADABLE, "This is not a regular file.", "Name a video file instead."
            )
        os.close(os.open(path, os.O_RDONLY))
    except FileNotFoundError as error:
        raise ProbeError(
            path,
            FailureReason.MISSING,
            "There is no such file.",
            "Put it back, or take it out of the list.",
        ) from error
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise  # the machine is short of something; the file is not at fault
        raise ProbeError(
            path,
            FailureReason.UNREADABLE,
            f"The file cannot be opened: {error.strerror}.",
            "Check its permissions and its disk.",
        ) from error
    if status.st_size == 0:
        raise ProbeError(path, FailureReason.UNREADABLE, "The file is empty (0 bytes).", "Fetch or copy it again.")


def parse_description(path: str, text: str) -> VideoMetadata:
    """Return the metadata in ffmpeg's description `text` of one input whose name it gives as INPUT.

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
        held = "sound or data, but no moving picture" if _ANY_STREAM.search(text) else "no stream at all"
        raise ProbeError(
            path,
            FailureReason.NO_VIDEO_STREAM,
            f"The file ({container[1]}) holds {held} that ffmpeg can read.",
            "Take it out of the folder or list, or fetch it again if it should hold video.",
        )
    # A stream's side data stands between its line and the next stream's.
    next_stream = _ANY_STREAM.search(text, video.end())
    rotation = _ROTATION.search(text, video.end(), next_stream.start() if next_stream else len(text))
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
    )


def _refusal(path: str, text: str) -> ProbeError:
    if too_large := _TOO_LARGE.search(text):
        return ProbeError(
            path,
            FailureReason.TOO_LARGE,
            f"A frame of {too_large[1]} x {too_large[2]} pixels exceeds the limit by far.",
            "Scale the video down, or raise limits.max_frame_pixels.",
        )
    if "not on whitelist" in text.lower():
        return ProbeError(
            path,
            FailureReason.UNREADABLE,
            "The file is a playlist, a script or another format that names further files or addresses, "
            "and those are not followed.",
            "Name the video files themselves.",
        )
    said = "; ".join(_ADDRESS.sub("", line).strip() for line in text.splitlines() if line.strip())
    return ProbeError(
        path,
        FailureReason.UNREADABLE,
        f"ffmpeg cannot open the file as a video; it said: {said[:_QUOTED_CHARACTERS] or 'nothing'}.",
        "It may be no video, damaged, or cut off: fetch it again, or take it out.",
    )
