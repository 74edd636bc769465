"""Small sample videos, made by ffmpeg from its test sources."""

from __future__ import annotations

import subprocess
from pathlib import Path

import ffmpeg as ffmpeg_python

from reeldex.extractors import ffmpeg, ffmpeg_process

# File name -> ffmpeg's test source. Pictures, shapes and lengths differ, so that the features differ too.
SAMPLES: dict[str, str] = {
    "colour bars.mp4": "smptehdbars=size=640x360:rate=25:duration=4",
    "counter.mp4": "testsrc2=size=320x240:rate=30:duration=6",
    "game of life.mkv": "life=size=320x180:mold=10:rate=24:ratio=0.2:life_color=#40ff40,trim=duration=5",
    "mandelbrot.mp4": "mandelbrot=size=480x272:rate=24,trim=duration=5",
    "portrait.mp4": "testsrc=size=180x320:rate=15:duration=3",
}


def make_samples(folder: Path) -> list[Path]:
    """Create the sample videos missing in `folder` and return the paths of all. Raises RuntimeError."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, picture in SAMPLES.items():
        path = folder / name
        if not path.exists():
            _make(picture, path)
        paths.append(path)
    return paths


def _make(picture: str, path: Path) -> None:
    # Under a temporary name first, so that an interrupted run leaves no incomplete video under the final name.
    unfinished = path.with_name(f".unfinished-{path.name}")
    command = (
        ffmpeg_python.input(picture, format="lavfi")
        .output(ffmpeg.input_url(str(unfinished)), pix_fmt="yuv420p")
        .overwrite_output()
        .get_args()
    )
    answer = subprocess.run([*ffmpeg_process.command(), "-v", "error", *command], capture_output=True, check=False)
    if answer.returncode:
        raise RuntimeError(
            f"ffmpeg could not create the sample video {path}: {answer.stderr.decode('utf-8', 'replace')}"
        )
    unfinished.replace(path)
