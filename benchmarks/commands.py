"""Whole commands, start-up included: `reeldex extract` against the published extractor, and on one short clip.

python -m benchmarks.commands [--videos FOLDER] [--runs 3]

The published extractor (`benchmarks/published.py`) is run once per network, as its users do. Both methods have warm
caches: random weights and converted networks are on disk. They alternate; medians are printed with the least and the
most, and the ratio pair by pair. The rows of both are compared.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from reeldex.containers import VIDEO_SUFFIXES
from reeldex.extractors.registry import EXTRACTORS
from reeldex.extractors.runtimes.network import least_cosine
from reeldex.extractors.samples import make_samples
from reeldex.storage.store import FeatureStore


def run(*arguments: object) -> tuple[float, float]:
    """Run a Python module as a command; return its wall-clock and CPU seconds, children included."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", *map(str, arguments)], check=True, capture_output=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def extract(source: Path, store: Path) -> tuple[float, float]:
    """Extract with both networks into a new store."""
    options = ("--weights", "random", "--video-id", "path", "--no-server")
    return run("reeldex", "extract", source, "--store", store, *options)


def publish(videos: list[Path], out: Path) -> tuple[float, float]:
    """Run the published extractor once per network."""
    out.mkdir()
    runs = [run("benchmarks.published", name, out, *videos) for name in EXTRACTORS]
    return sum(wall for wall, _ in runs), sum(cpu for _, cpu in runs)


def worst_cosine(store: Path, out: Path, videos: list[Path]) -> float:
    """Return the smallest cosine between rows of both methods. Raises AssertionError for different numbers of rows."""
    opened, found = FeatureStore(store), []
    for video in videos:
        for space in opened.spaces():
            rows = opened.read(space, video.name)
            published = np.load(out / f"{video.name}.{space.partition('.')[0]}.npy")
            assert len(rows) == len(published), (video, space)
            found.append(least_cosine(rows, published))
    return min(found)


def spread(seconds: list[float]) -> dict[str, float]:
    """Return median, least and most."""
    return {
        "median": round(statistics.median(seconds), 2),
        "least": round(min(seconds), 2),
        "most": round(max(seconds), 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--videos", type=Path, help="folder of videos (default: the sample videos)")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = arguments.videos or folder / "samples"
        if arguments.videos is None:
            make_samples(source)
        videos = sorted(path for path in source.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
        clip = min(videos, key=lambda path: path.stat().st_size)
        extract(clip, folder / "warm")  # weights and converted networks are on disk after it
        short = [extract(clip, folder / f"short-{number}") for number in range(arguments.runs)]
        ours, theirs = [], []
        for number in range(arguments.runs):
            ours.append(extract(source, folder / f"store-{number}"))
            theirs.append(publish(videos, folder / f"out-{number}"))
        worst = worst_cosine(folder / "store-0", folder / "out-0", videos)
        answer = {
            "videos": len(videos),
            "least_cosine_between_them": round(worst, 6),
            "reeldex_extract_seconds": spread([wall for wall, _ in ours]),
            "published_extractor_seconds": spread([wall for wall, _ in theirs]),
            "ratio": spread([them / us for (us, _), (them, _) in zip(ours, theirs, strict=True)]),
            "cpu_seconds_of_both": [spread([cpu for _, cpu in ours]), spread([cpu for _, cpu in theirs])],
            "one_short_clip": {"file": clip.name, "seconds": spread([wall for wall, _ in short])},
            "its_cpu_seconds": spread([cpu for _, cpu in short]),
        }
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()
