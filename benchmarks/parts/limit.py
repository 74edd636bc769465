"""The engine against its limit: decoding alone and the networks alone, on the same clips; and one decode against two.

Where both share the cores, their sum is the limit; on different units it is the larger of the two.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import make_mixed
from benchmarks.measuring import Figure, alternated, ratios, seconds
from benchmarks.sizes import Size
from reeldex.extractors.clips import to_clips
from reeldex.extractors.decode import decode
from reeldex.extractors.engine import default_decoders, extract
from reeldex.extractors.frames import FrameBatch, VideoFeatures, VideoSource
from reeldex.extractors.network import load_network
from reeldex.extractors.options import DecodeLimits, EngineOptions, NetworkOptions, WeightsChoice
from reeldex.extractors.registry import EXTRACTORS
from reeldex.extractors.runtimes.network import Network, PendingRows
from reeldex.extractors.spec import ExtractorSpec

Frames = dict[tuple[str, str], NDArray[np.uint8]]
Rows = dict[tuple[str, str], NDArray[np.float16]]


def decoded(videos: Sequence[Path], specs: Sequence[ExtractorSpec]) -> Frames:
    """Decode all videos once for these extractors, as many at a time as the engine does."""

    def one(video: Path) -> Frames:
        parts: dict[str, list[NDArray[np.uint8]]] = {spec.name: [] for spec in specs}
        for item in decode(VideoSource(video.name, str(video)), specs, DecodeLimits()):
            if isinstance(item, FrameBatch):
                parts[item.extractor].append(item.frames)
        return {(video.name, name): np.concatenate(frames) for name, frames in parts.items()}

    with ThreadPoolExecutor(default_decoders(["cpu"])) as pool:
        return {key: frames for found in pool.map(one, videos) for key, frames in found.items()}


def computed(frames: Frames, networks: Sequence[Network]) -> Rows:
    """Compute the rows of decoded frames, row by row, with all cores busy."""
    by_name = {network.spec.name: network for network in networks}
    most = max(network.batches_in_flight for network in networks)
    waiting: collections.deque[tuple[tuple[str, str], PendingRows]] = collections.deque()
    rows: dict[tuple[str, str], list[NDArray[np.float16]]] = {key: [] for key in frames}

    def collect() -> None:
        key, pending = waiting.popleft()
        rows[key].append(pending.wait())

    for key, each in frames.items():
        network = by_name[key[1]]
        clips = to_clips(each, network.spec.frames_per_clip)
        for start in range(0, len(clips), network.batch_rows):
            if len(waiting) >= most:
                collect()
            waiting.append((key, network.submit(clips[start : start + network.batch_rows])))
    while waiting:
        collect()
    return {key: np.concatenate(parts) for key, parts in rows.items()}


def extracted(videos: Sequence[Path], networks: Sequence[Network]) -> Rows:
    """Return the rows of the engine."""
    sources = [VideoSource(video.name, str(video)) for video in videos]
    results = list(extract(sources, networks, EngineOptions()))
    assert all(isinstance(each, VideoFeatures) for each in results), results
    return {
        (each.source.video_id, name): rows
        for each in results
        if isinstance(each, VideoFeatures)
        for name, rows in each.rows.items()
    }


def measure(size: Size, folder: Path) -> Iterator[Figure]:
    """Measure the engine and its parts."""
    videos = make_mixed(folder / "clips", size)
    options = NetworkOptions(weights=WeightsChoice.RANDOM, device="cpu")
    networks = [load_network(name, options) for name in EXTRACTORS]
    specs = [network.spec for network in networks]
    frames = decoded(videos, specs)
    alone, together = computed(frames, networks), extracted(videos, networks)
    assert alone.keys() == together.keys()
    assert all(np.array_equal(alone[key], together[key]) for key in alone)
    separate = {key: each for spec in specs for key, each in decoded(videos, [spec]).items()}
    assert all(np.array_equal(separate[key], frames[key]) for key in frames)
    times = alternated(
        {
            "decode": lambda: seconds(lambda: decoded(videos, specs)),
            "networks": lambda: seconds(lambda: computed(frames, networks)),
            "engine": lambda: seconds(lambda: extracted(videos, networks)),
            "decode twice": lambda: seconds(lambda: [decoded(videos, [spec]) for spec in specs]),
        },
        size.runs,
    )
    part, equal = "against the limit", "rows of engine and networks alone, equal in every bit"
    both = [a + b for a, b in zip(times["decode"], times["networks"], strict=True)]
    larger = [max(a, b) for a, b in zip(times["decode"], times["networks"], strict=True)]
    yield Figure(
        part, "engine / (decode alone + networks alone)", "ratio", ratios(times["engine"], both), equal, "at most", 1.10
    )
    yield Figure(part, "engine / max(decode alone, networks alone)", "ratio", ratios(times["engine"], larger), equal)
    yield Figure(
        "decoding alone", "one pass for both networks against two", "times as fast",
        ratios(times["decode twice"], times["decode"]), "all frames, equal in every bit",
    )  # fmt: skip
    yield Figure(part, "networks alone / decode alone", "ratio", ratios(times["networks"], times["decode"]), equal)
