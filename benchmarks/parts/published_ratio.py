"""`reeldex extract` against the published extractor, run once per network as its users do, on the same clips.

Both have warm caches: random weights and converted networks are on disk. They alternate. With start-up, whole commands
count; without, what each says of its own work.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.clips import mixed_clips
from benchmarks.measuring import Figure, Ran, Spread, ratios, run_module
from benchmarks.sizes import Size
from reeldex.extractors.registry import EXTRACTORS
from reeldex.extractors.runtimes.network import least_cosine
from reeldex.storage.store import FeatureStore

_LEAST_COSINE = 0.9999


def extract(source: Path, store: Path) -> Ran:
    """Extract with both networks into a new store."""
    options = ("--weights", "random", "--video-id", "path", "--no-server", "--json")
    return run_module("reeldex", "extract", source, "--store", store, *options)


def publish(videos: list[Path], out: Path) -> list[Ran]:
    """Run the published extractor once per network."""
    out.mkdir()
    return [run_module("benchmarks.published", name, out, *videos) for name in EXTRACTORS]


def worst_cosine(store: Path, out: Path, videos: list[Path]) -> float:
    """Return the smallest cosine between rows of both methods. Raises AssertionError for different numbers of rows."""
    opened, found = FeatureStore(store), []
    for video in videos:
        for space in opened.spaces():
            rows = opened.read(space, video.name)
            published = np.load(out / f"{video.name}.{space.partition('.')[0]}.npy")
            assert len(rows) == len(published), (video, space)
            found.append(least_cosine(rows, published))
    assert min(found) >= _LEAST_COSINE, min(found)
    return min(found)


def measure(size: Size, folder: Path) -> Iterator[Figure]:
    """Measure both methods."""
    videos, clips = mixed_clips(folder / "clips", size)
    if size.warm_up:
        extract(videos[0], folder / "warm")  # weights and converted networks are on disk after it
    whole: dict[str, list[float]] = {"ours": [], "theirs": []}
    work: dict[str, list[float]] = {"ours": [], "theirs": []}
    cpu: dict[str, list[float]] = {"ours": [], "theirs": []}
    speeds = []
    for number in range(size.runs):
        ours = extract(folder / "clips", folder / f"store-{number}")
        theirs = publish(videos, folder / f"published-{number}")
        said = json.loads(ours.out)
        whole["ours"].append(ours.wall_seconds)
        whole["theirs"].append(sum(each.wall_seconds for each in theirs))
        cpu["ours"].append(ours.cpu_seconds)
        cpu["theirs"].append(sum(each.cpu_seconds for each in theirs))
        work["ours"].append(said["seconds_of_work"])
        work["theirs"].append(sum(float(each.out) for each in theirs))
        speeds.append(said["seconds_of_video"] / said["seconds_of_work"])
    cosine = worst_cosine(folder / "store-0", folder / "published-0", videos)
    checked = f"rows of {clips}, least cosine {cosine:.6f}"
    part = "against the published approach"
    yield Figure(
        part, "start-up included", "times as fast", ratios(whole["theirs"], whole["ours"]), checked, "at least", 2
    )
    yield Figure(part, "without start-up", "times as fast", ratios(work["theirs"], work["ours"]), checked)
    yield Figure(part, "CPU time, start-up included", "times less", ratios(cpu["theirs"], cpu["ours"]), checked)
    yield Figure(part, "video per second, without start-up", "s/s", Spread.of(speeds), checked)
