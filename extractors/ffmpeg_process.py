"""Starts ffmpeg with a memory limit, and so that it ends when its parent ends.

Wrapper programs that exec ffmpeg do both, since Python code must not run between fork and exec in a process with
threads.
"""

from __future__ import annotations

import functools
import re
import resource
import shutil
import subprocess

from reeldex.extractors import ffmpeg
from reeldex.extractors.errors import ExtractionError, FailureReason, FfmpegNotFoundError
from reeldex.extractors.options import DecodeLimits

# Reserved memory of threads counts as address space even if unused: a stack, 8 MB by default, and heaps of 64 MB
# for many of them. On machines with many processors that alone would approach the limit.
_STACK_BYTES = 2 << 20
_HEAP_ARENAS = 2
# At the end of a line, where ffmpeg prints reasons: file names and titles may contain the same words.
_OUT_OF_MEMORY = re.compile(
    r"(?:cannot allocate memory|out of memory"
    r"|resource temporarily unavailable"  # a thread without memory for its stack
    r")\W*$|failed to map segment|bad_alloc",
    re.IGNORECASE,
)


_QUOTED_CHARACTERS = 200


def command(memory_bytes: int = DecodeLimits().ffmpeg_memory_bytes, *, address_space: bool = True) -> list[str]:
    """Return the command to which ffmpeg's arguments are appended, limited to so many bytes of address space.

    Without `address_space`, the limit is that of its own data: CUDA reserves more addresses than there is memory.

    The process is killed when the thread that started it ends: read its output in that thread. Raises
    FfmpegNotFoundError.
    """
    hard = resource.getrlimit(resource.RLIMIT_AS if address_space else resource.RLIMIT_DATA)[1]
    most = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    limits = [f"--{'as' if address_space else 'data'}={most}", f"--stack={_STACK_BYTES}:"]
    # `env` comes first: it would interpret a path that contains "=", as ffmpeg's may, as a variable.
    arenas = [_program("env"), f"MALLOC_ARENA_MAX={_HEAP_ARENAS}"]
    return [*arenas, *_parent_watchdog(), _program("prlimit"), *limits, ffmpeg.executable()]


@functools.cache
def _parent_watchdog() -> tuple[str, ...]:
    watchdog = (_program("setpriv"), "--pdeathsig", "KILL")
    tried = subprocess.run([*watchdog, _program("env"), "true"], capture_output=True, check=False)
    if tried.returncode:
        raise FfmpegNotFoundError(
            f"ffmpeg cannot be started safely: {' '.join(watchdog)} failed: "
            f"{tried.stderr.decode('utf-8', 'replace').strip()}. Install util-linux 2.33 or later."
        )
    return watchdog


@functools.cache
def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise FfmpegNotFoundError(
            f"ffmpeg is started through the program {name}, which is not on PATH. Install util-linux (for env: "
            "coreutils) with your system's package manager."
        )
    return found


def decoder_threads(width: int, height: int, memory_bytes: int) -> int:
    """Return the number of threads that can decode frames of that size within half of the memory.

    Measured on 10-bit 4K HEVC, 3 bytes per pixel: about 10 frames, plus 1.25 per thread.
    """
    frames = memory_bytes / 2 / (3 * width * height)
    return max(1, int((frames - 10) / 1.25))


def says_out_of_memory(said: str) -> bool:
    """Whether output of ffmpeg, or of the system when starting it, reports that memory ran out."""
    return _OUT_OF_MEMORY.search(said) is not None


def require_memory(kind: type[ExtractionError], path: str, said: str, memory_bytes: int) -> None:
    """Raise `kind` if ffmpeg's output for the file at `path` reports that memory ran out."""
    found = next((line.strip() for line in said.splitlines() if says_out_of_memory(line)), None)
    if found is not None:
        raise kind(
            path,
            FailureReason.TOO_LARGE,
            f"ffmpeg needs more than the {memory_bytes:,} bytes of address space that it may use for this file; "
            f"it said: {found[:_QUOTED_CHARACTERS]}.",
            "Raise compute.limits.ffmpeg_memory_bytes, or convert the video to a smaller one.",
        )
