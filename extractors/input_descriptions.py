"""Has ffmpeg describe files: one, or several by one process.

Starting ffmpeg takes longer than reading the header of a file: 50 ms of CPU time where it is linked to 200 libraries.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reeldex.extractors import ffmpeg, ffmpeg_process
from reeldex.extractors.description import without_name
from reeldex.extractors.errors import FailureReason, ProbeError
from reeldex.extractors.ffmpeg_process import require_memory
from reeldex.extractors.options import DecodeLimits

TOGETHER = 16
"""So many files at most are described by one process."""
# A process that takes longer is stuck on one of its files.
_TOGETHER_SECONDS = 10.0
_STREAM = re.compile(rb"^( +Stream #)(\d+)(?=:)", re.MULTILINE)
_ENDING = b"At least one output file must be specified"

_State = tuple[int, int, int, int]


@dataclass(frozen=True)
class Description:
    """ffmpeg's description of a file, with INPUT in place of its name, and the state of the file that it is of."""

    text: str
    state: _State

    def is_current(self, path: str) -> bool:
        """Whether the file at `path` is still the one that was described."""
        return _state(path) == self.state


def describe(path: str, limits: DecodeLimits, timeout_seconds: float, more: Mapping[str, object] | None = None) -> str:
    """Return ffmpeg's description of the file, with INPUT in place of its name. Raises ProbeError if it is killed."""
    try:
        answer = _run(_input_arguments(path, limits, more or {}), limits, timeout_seconds)
    except subprocess.TimeoutExpired as error:
        raise ProbeError(
            path,
            FailureReason.TIMEOUT,
            f"ffmpeg did not describe the file within {timeout_seconds:.0f} seconds.",
            "Check that its disk or network share responds, or raise compute.limits.timeout_seconds.",
        ) from error
    text = without_name(path, answer.stderr)
    if answer.returncode < 0:
        require_memory(ProbeError, path, text, limits.ffmpeg_memory_bytes)
        raise ProbeError(
            path,
            FailureReason.DECODE_ERROR,
            f"ffmpeg was killed by signal {-answer.returncode} while it described the file.",
            "If the machine ran out of memory, use fewer decoders. If the file is large, raise "
            "compute.limits.ffmpeg_memory_bytes. Otherwise it may be malformed.",
        )
    return text


def describe_together(paths: Sequence[str], limits: DecodeLimits) -> dict[str, Description]:
    """Return the descriptions of those of the files that ffmpeg describes without a message, each as `describe` does.

    The others are missing, and have to be described alone: ffmpeg ends at the first file that it cannot open, and its
    messages do not tell which file they are of. Raises nothing that concerns a file.
    """
    found: dict[str, Description] = {}
    states = {path: state for path in paths if path.isprintable() and (state := _state(path)) is not None}
    left, until = list(states), time.monotonic() + _TOGETHER_SECONDS
    while len(left) > 1:
        group = left[:TOGETHER]
        arguments = [each for path in group for each in _input_arguments(path, limits, {})]
        try:
            answer = _run(arguments, limits, until - time.monotonic())
        except subprocess.TimeoutExpired:
            break
        opened, texts = _split(group, answer.stderr)
        if answer.returncode < 0 and opened:
            texts.pop(group[opened - 1], None)  # killed, perhaps while it printed this one
        found |= {path: Description(text, states[path]) for path, text in texts.items()}
        # All, or those before the first that cannot be opened, which is described alone.
        left = left[min(len(group), opened + 1) :]
    return found


def _split(paths: Sequence[str], printed: bytes) -> tuple[int, dict[str, str]]:
    """Return how many files ffmpeg has opened, and the descriptions of those around which it printed nothing else."""
    lines = printed.split(b"\n")
    headers: list[int] = []
    for at, line in enumerate(lines):
        if len(headers) < len(paths) and _is_header(line, len(headers), paths[len(headers)]):
            headers.append(at)
    texts = {}
    for number, begin in enumerate(headers):
        end = headers[number + 1] if number + 1 < len(headers) else len(lines)
        # What is printed before a header may be of this file or of the one before it.
        before = lines[headers[number - 1] + 1 : begin] if number else lines[:begin]
        section = lines[begin + 1 : end]
        if _is_indented(before) and _is_indented(section):
            text = _as_first_input(b"\n".join(lines[begin:end]), number)
            if text is not None:
                texts[paths[number]] = without_name(paths[number], text)
    return len(headers), texts


def _is_header(line: bytes, number: int, path: str) -> bool:
    end = b", from '" + os.fsencode(ffmpeg.input_url(path)) + b"':"
    return line.startswith(b"Input #%d, " % number) and line.endswith(end)


def _is_indented(lines: Sequence[bytes]) -> bool:
    """Whether lines are parts of descriptions: messages begin with no space."""
    return all(not line or line.startswith((b" ", _ENDING)) for line in lines)


def _as_first_input(section: bytes, number: int) -> bytes | None:
    """Return the description of an input as if it were the only one; None if its streams are not those of the input."""
    if any(int(match[2]) != number for match in _STREAM.finditer(section)):
        return None
    return _STREAM.sub(rb"\g<1>0", section.replace(b"Input #%d, " % number, b"Input #0, ", 1))


def _input_arguments(path: str, limits: DecodeLimits, more: Mapping[str, object]) -> list[str]:
    source = ffmpeg.local_input(limits.max_frame_pixels, **more)
    arguments = ffmpeg.with_path(source.output("-", format="null").get_args(), path)
    return arguments[: arguments.index("-i") + 2]


def _run(arguments: Sequence[str], limits: DecodeLimits, timeout_seconds: float) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*ffmpeg_process.command(limits.ffmpeg_memory_bytes), "-hide_banner", "-nostdin", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=max(0.0, timeout_seconds),
        check=False,  # without an output, ffmpeg describes its inputs and always exits with status 1
    )


def _state(path: str) -> _State | None:
    """Return what identifies the content of a regular file that is not empty, None for anything else."""
    try:
        status = os.stat(path)  # noqa: PTH116 - paths may hold bytes that are not UTF-8
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        return None  # opening a named pipe would block
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
