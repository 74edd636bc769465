"""Clips of several sizes, shapes and lengths, made by ffmpeg, on which the benchmarks of extraction run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from reeldex.extractors import ffmpeg

# Size, frames per second, and length as a share of the longest.
_CLIPS = (
    ("320x240", 25, 1.0),
    ("640x360", 30, 0.8),
    ("360x640", 30, 0.4),
    ("854x480", 25, 0.6),
    ("1280x720", 30, 0.5),
    ("1920x1080", 30, 0.4),
)


def make_clip(path: Path, size: str, rate: int, seconds: float) -> Path:
    """Make one clip: a moving fractal, which is neither as flat as a test card nor as dense as noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = f"mandelbrot=size={size}:rate={rate}:maxiter=200,trim=duration={seconds}"
    command = [ffmpeg.executable(), "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", picture]
    encoded = ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", str(path)]
    subprocess.run([*command, *encoded], check=True)
    return path


def make_mixed(folder: Path, longest_seconds: float) -> list[Path]:
    """Make clips from 240p to 1080p, one of them upright."""
    return [
        make_clip(folder / f"{size}-{rate}.mp4", size, rate, max(1.2, longest_seconds * share))
        for size, rate, share in _CLIPS
    ]


def make_copies(folder: Path, count: int, seconds: float, size: str = "320x240") -> list[Path]:
    """Make `count` files of the same clip."""
    first = make_clip(folder / "00000.mp4", size, 25, seconds)
    others = [folder / f"{number:05d}.mp4" for number in range(1, count)]
    for path in others:
        shutil.copy(first, path)
    return [first, *others]
