"""Videos that ffmpeg makes for the tests: each once, with the same bytes each time."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

from reeldex.extractors import ffmpeg
from tests.cache import made_once

# With several threads, x264 and x265 were seen to write other bytes now and then, and what is damaged in a file depends
# on them; x265 needs `pools=none` in its own options, too. Matroska holds random numbers unless it is to be exact.
_SAME_BYTES = ("-filter_threads", "1", "-threads", "1", "-bitexact")


def run_ffmpeg(*arguments: str | Path) -> None:
    """Run ffmpeg, which prints only errors and overwrites the output."""
    subprocess.run([ffmpeg.executable(), "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


def cached_video(path: Path, *arguments: str) -> Path:
    """Make a video at `path`, or copy what the same arguments of ffmpeg made before; return the path.

    The arguments name the inputs and the options of the output; inputs are ffmpeg's own pictures and sounds, not files.
    """
    command = [*arguments, *_SAME_BYTES]
    made = made_once(f"video{path.suffix}", [_ffmpeg(), *command], lambda output: run_ffmpeg(*command, output))
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made, path)
    return path


@functools.cache
def _ffmpeg() -> str:
    """Return what ffmpeg says of itself: its version, and how it was built."""
    return subprocess.run([ffmpeg.executable(), "-version"], capture_output=True, text=True, check=True).stdout
