"""An ffmpeg that reads some videos as slowly as they play.

A run over them lasts as long as a test needs, however fast the machine is, and takes no processor meanwhile.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from reeldex.extractors import ffmpeg


def path_with_slow_ffmpeg(folder: Path, pattern: str = "*long*", seconds_per_second: float = 1.0) -> str:
    """Return a PATH whose ffmpeg reads so many seconds per second of each video whose path fits the pattern."""
    program = folder / "slow ffmpeg" / "ffmpeg"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(
        "#!/bin/sh\n"
        "slowly=\n"
        f'for each; do case "$each" in file:{pattern}) slowly="-readrate {seconds_per_second}";; esac; done\n'
        f'exec {shlex.quote(ffmpeg.executable())} $slowly "$@"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    return f"{program.parent}{os.pathsep}{os.environ['PATH']}"
