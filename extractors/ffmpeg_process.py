"""How ffmpeg is started: with an upper limit of memory, and so that it ends when whoever started it does.

Programs that run another in their own place do both, since no Python may run between fork and exec in a process
with threads.
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

# What is set aside for threads counts as address space, whatever they use: a stack, 8 MB by default, and heaps of 64 MB
# for many of them. On machines with many processors that alone would come near the limit.
_STACK_BYTES = 2 << 20
_HEAP_ARENAS = 2
# At the end of a line, where ffmpeg gives its reasons: names of files and titles may hold the same words.
_OUT_OF_MEMORY = re.compile(
    r"(?:cannot allocate memory|out of memory"
    r"|resource temporarily unavailable"  # what a thread without room for its stack gets
    r")\W*$|failed to map segment|bad_alloc",
    re.IGNORECASE,
)


_QUOTED_CHARACTERS = 200


def command(memory_bytes: int = DecodeLimits().ffmpeg_memory_bytes) -> list[str]:
    """Return the command that arguments of ffmpeg are added to: it may use so many bytes of address space.

    The process is killed when the thread that started it has ended: read what it writes in that thread. Raises
    FfmpegNotFoundError.
    """
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    limits = [f"--as={most}", f"--stack={_STACK_BYTES}:"]
    # `env` comes first: it takes a path with "=" in it, as ffmpeg's may be, for another variable.
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
            f"ffmpeg is started through the program {name}, and there is none on PATH. It belongs to util-linux "
            "(env: coreutils), which your system's package manager has."
        )
    return found


def decoder_threads(width: int, height: int, memory_bytes: int) -> int:
    """Return how many threads may decode frames of that size within half of the memory.

    Measured on HEVC of 4K and 10 bits, 3 bytes a pixel: some 10 frames, and 1.25 more for each thread.
    """
    frames = memory_bytes / 2 / (3 * width * height)
    return max(1, int((frames - 10) / 1.25))


def says_out_of_memory(said: str) -> bool:
    """Whether ffmpeg, or the system that was to start it, says that it could not have more memory."""
    return _OUT_OF_MEMORY.search(said) is not None


def require_memory(kind: type[ExtractionError], path: str, said: str, memory_bytes: int) -> None:
    """Raise `kind` if what ffmpeg said of the file at `path` says that it could not have more memory."""
    found = next((line.strip() for line in said.splitlines() if says_out_of_memory(line)), None)
    if found is not None:
        raise kind(
            path,
            FailureReason.TOO_LARGE,
            f"ffmpeg needs more for this file than the {memory_bytes:,} bytes of address space that it may use; "
            f"it said: {found[:_QUOTED_CHARACTERS]}.",
            "Raise limits.ffmpeg_memory_bytes, or convert the video to a smaller one.",
        )
