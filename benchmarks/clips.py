"""Clips of several sizes, shapes and lengths, on which the benchmarks of extraction run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from benchmarks.sizes import Size
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


_REAL_FOLDER = Path(__file__).resolve().parents[2] / "shared" / "videos"
# H.264, AV1, VP9 and HEVC of 10 bits, from 180p to 720p, one rotated.
_REAL = (
    "nasa_13013.mp4",
    "flipping_a_pancake.mkv",
    "test_clip_10s.mp4",
    "av1_video.mkv",
    "testsrc2_vp9.webm",
    "h265_10bits.mp4",
    "nasa_13013_rotated.mp4",
)


def make_clip(path: Path, size: str, rate: int, seconds: float) -> Path:
    """Make one clip: a moving fractal, which is neither as flat as a test card nor as dense as noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = f"mandelbrot=size={size}:rate={rate}:maxiter=200,trim=duration={seconds}"
    command = [ffmpeg.executable(), "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", picture]
    encoded = ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", str(path)]
    subprocess.run([*command, *encoded], check=True)
    return path


def make_mixed(folder: Path, size: Size) -> list[Path]:
    """Make clips from 240p, up to 1080p if all are asked for; the third is upright."""
    return [
        make_clip(folder / f"{picture}-{rate}.mp4", picture, rate, max(1.2, size.clip_seconds * share))
        for picture, rate, share in _CLIPS[: size.clips]
    ]


def mixed_clips(folder: Path, size: Size) -> tuple[list[Path], str]:
    """Return clips up to 1080p in a folder, and what they are: real ones, if the size wants them and there are some."""
    if not size.real_clips or not all((_REAL_FOLDER / name).is_file() for name in _REAL):
        clips = make_mixed(folder, size)
        return clips, f"{len(clips)} synthetic clips"
    folder.mkdir(parents=True)
    real = [Path(shutil.copy(_REAL_FOLDER / name, folder)) for name in _REAL]
    large = make_clip(folder / "1080p.mp4", "1920x1080", 30, 0.4 * size.clip_seconds)
    return [*real, large], f"{len(real)} real clips and a synthetic one of 1080p"


def make_copies(folder: Path, count: int, seconds: float, size: str = "320x240") -> list[Path]:
    """Make `count` files of the same clip."""
    first = make_clip(folder / "00000.mp4", size, 25, seconds)
    others = [folder / f"{number:05d}.mp4" for number in range(1, count)]
    for path in others:
        shutil.copy(first, path)
    return [first, *others]
