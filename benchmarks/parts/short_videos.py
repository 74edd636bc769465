"""Many short videos: what a video costs beyond decoding and arithmetic.

A whole shard is extracted into a store with networks that compute nothing, and decoding alone is subtracted: ffmpeg
decodes each video for both networks, as many at a time as the engine does, and nobody takes its frames. What remains
is describing each file, starting ffmpeg with limits, pipes, Python, staging and publishing.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import make_copies
from benchmarks.measuring import Figure, Spread, alternated, cpu_seconds, seconds
from benchmarks.sizes import Size
from reeldex.extractors import ffmpeg
from reeldex.extractors.decoding_process import decode_arguments
from reeldex.extractors.engine import default_decoders
from reeldex.extractors.fingerprint import fingerprint
from reeldex.extractors.options import DecodeLimits, Precision
from reeldex.extractors.probe import probe
from reeldex.extractors.registry import EXTRACTORS
from reeldex.extractors.runtimes.network import ComputedRows, normalised
from reeldex.extractors.sampling import Pipes
from reeldex.extractors.spec import ExtractorSpec
from reeldex.flows.config.pipeline import ComputeConfig
from reeldex.flows.extraction.shard_work import run_shard
from reeldex.storage.growth import plan_growth
from reeldex.storage.schema import VideoEntry
from reeldex.storage.store import FeatureStore


class IdleNetwork:
    """A network whose rows cost nothing: as every network, it takes clips and returns normalised rows."""

    device, runtime, precision = "cpu", "none", Precision.FP32
    batch_rows, batches_in_flight = 1, 1

    def __init__(self, spec: ExtractorSpec) -> None:
        self.spec = spec
        self.space = f"{spec.name}.idle"
        self.fingerprint: dict[str, Any] = fingerprint(spec, "idle", Precision.FP32)

    def new_batch(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return an array for a batch."""
        return np.empty(shape, np.uint8)

    def raw_features(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return ones."""
        return np.ones((len(clips), self.spec.feature_dim), np.float32)

    def submit(self, clips: NDArray[np.uint8]) -> ComputedRows:
        """Return the rows at once."""
        return ComputedRows(self.features(clips))

    def features(self, clips: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return equal rows of norm 1."""
        return normalised(self.raw_features(clips))


def decode_alone(videos: list[Path], specs: list[ExtractorSpec]) -> None:
    """Have ffmpeg decode all videos as the engine does, and write the frames to nobody."""
    limits, nobody = DecodeLimits(), os.open(os.devnull, os.O_WRONLY)
    metadata = probe(str(videos[0]))  # they are copies
    pipes = Pipes.of([nobody] * (2 * len(specs) + 1))

    def one(video: Path) -> None:
        arguments = decode_arguments(str(video), metadata, specs, pipes, max_frame_pixels=limits.max_frame_pixels)
        subprocess.run([ffmpeg.executable(), *arguments], pass_fds=[nobody], check=True)

    try:
        with ThreadPoolExecutor(default_decoders(["cpu"])) as pool:
            list(pool.map(one, videos))
    finally:
        os.close(nobody)


def extract_shard(videos: list[Path], folder: Path, networks: list[IdleNetwork]) -> None:
    """Extract all videos as one shard of a new store. Raises AssertionError unless each has features."""
    entries = [VideoEntry(path.name, str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in videos]
    store = FeatureStore(folder, create=True)
    names = [network.space for network in networks]
    growth = plan_growth((), entries, videos_per_shard=len(videos), spaces=names, exists=lambda _: True)
    with store.lock():
        store.add_shards(growth.new_shards)
        report = run_shard(store, networks, shard=0, compute=ComputeConfig(), on_event=lambda _: None)
    assert (report.ok, report.failed) == (len(videos), 0)
    assert len(store) == len(videos)
    store.close()


def measure(size: Size, folder: Path) -> Iterator[Figure]:
    """Measure the fixed cost of a video."""
    videos = make_copies(folder / "clips", size.short_videos, 2.0)
    networks = [IdleNetwork(record.spec) for record in EXTRACTORS.values()]
    specs = [network.spec for network in networks]
    numbers = iter(range(size.runs))
    cpu: dict[str, list[float]] = {"decode": [], "shard": []}

    def timed(name: str, work: Callable[[], None]) -> float:
        before = cpu_seconds()
        wall = seconds(work)
        cpu[name].append(cpu_seconds() - before)
        return wall

    times = alternated(
        {
            "decode": lambda: timed("decode", lambda: decode_alone(videos, specs)),
            "shard": lambda: timed("shard", lambda: extract_shard(videos, folder / f"store-{next(numbers)}", networks)),
        },
        size.runs,
    )
    part, checked = f"{len(videos)} videos of 2 s", "features of every video in the store"

    def beyond(found: dict[str, list[float]]) -> Spread:
        return Spread.of([1000 * (a - b) / len(videos) for a, b in zip(found["shard"], found["decode"], strict=True)])

    yield Figure(part, "a video beyond decoding and arithmetic", "ms", beyond(times), checked, "at most", 30)
    yield Figure(part, "the same, CPU time", "ms", beyond(cpu), checked)
    for what, found in (("ffmpeg alone, its start included", times), ("the same, CPU time", cpu)):
        yield Figure(part, what, "ms", Spread.of([1000 * each / len(videos) for each in found["decode"]]), checked)
