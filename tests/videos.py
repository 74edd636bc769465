"""Videos that ffmpeg makes for the tests: each once, with the same bytes each time."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from reeldex.extractors import ffmpeg
from tests.cache import CACHE

# With several threads, x264 and x265 were seen to write other bytes now and then; what is damaged in a file depends on
# them.
_ONE_THREAD = ("-filter_threads", "1", "-threads", "1")


def run_ffmpeg(*arguments: str | Path) -> None:
    """Run ffmpeg, which says errors alone and replaces its output."""
    subprocess.run([ffmpeg.executable(), "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


def made_video(path: Path, *arguments: str) -> Path:
    """Make a video at `path`, or copy what the same arguments of ffmpeg made before; return the path.

    The arguments name the inputs and the options of the output; inputs are ffmpeg's own pictures and sounds, not files.
    """
    content = json.dumps([ffmpeg.version(), *arguments])
    made = CACHE / "videos" / f"{hashlib.sha256(content.encode()).hexdigest()[:16]}{path.suffix}"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=made.parent) as folder:
            beside = Path(folder) / made.name
            run_ffmpeg(*arguments, *_ONE_THREAD, beside)
            beside.replace(made)  # another process may have made it meanwhile
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made, path)
    return path
