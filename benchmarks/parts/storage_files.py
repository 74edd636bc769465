"""The store against .npy files: writing, random spans of rows, and HowTo100M's samples.

Both write the same rows and sync them to disk. Spans are read by videos and seconds; an .npy file is mapped, and the
rows of the span are copied. All files are in the page cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.howto100m_samples import Size as SampleSize
from benchmarks.howto100m_samples import measure as measure_samples
from benchmarks.measuring import Figure, Spread, alternated, ratios, seconds
from benchmarks.sizes import Size
from reeldex.storage.growth import plan_growth
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoEntry, VideoOutcome
from reeldex.storage.shard_writing import write_shard
from reeldex.storage.store import FeatureStore

_SPACE = FeatureSpace("resnet152.synthetic", {"weights": "synthetic"})
_SECONDS, _WIDTH, _SPAN_SECONDS = 60, 2048, 7.5


def make_rows(count: int) -> dict[str, FeatureRows]:
    """Return random rows of `count` videos of a minute."""
    generator = np.random.default_rng(0)
    return {
        f"video{number:05d}": FeatureRows(
            generator.standard_normal((_SECONDS, _WIDTH), np.float32).astype(np.float16),
            0.0, 1.0, float(_SECONDS), truncated=False, source=f"/{number}.mp4",
        )
        for number in range(count)
    }  # fmt: skip


def write_npy(folder: Path, rows: dict[str, FeatureRows]) -> None:
    """Write one file per video, each synced to disk."""
    folder.mkdir(parents=True)
    for video_id, each in rows.items():
        with (folder / f"{video_id}.npy").open("wb") as file:
            np.save(file, each.rows)
            os.fsync(file.fileno())


def make_store(folder: Path, rows: dict[str, FeatureRows]) -> FeatureStore:
    """Return a store with these rows."""
    entries = [VideoEntry(video_id, each.source, 1, 1) for video_id, each in rows.items()]
    store = FeatureStore(folder, create=True)
    growth = plan_growth((), entries, videos_per_shard=len(rows), spaces=[_SPACE.name], exists=lambda _: True)
    with store.lock():
        store.add_shards(growth.new_shards)
        for position, entry in enumerate(growth.new_shards[0].videos):
            outcome = VideoOutcome(
                entry.video_id, entry.path, "ok", None, "", attempts=1, duration_seconds=float(_SECONDS)
            )
            store.staging(0).put(position, outcome, {_SPACE: rows[entry.video_id]})
        store.publish_shard(0, [_SPACE], provenance={}, seconds_of_work=1.0)
    return store


def measure(size: Size, folder: Path) -> Iterator[Figure]:
    """Measure both kinds of files."""
    rows = make_rows(size.stored_videos)
    numbers = iter(range(10 * size.runs))
    written = alternated(
        {
            "store": lambda: seconds(lambda: write_shard(folder / f"{next(numbers)}.h5", _SPACE, 0, rows.items(), {})),
            "npy": lambda: seconds(lambda: write_npy(folder / f"npy-{next(numbers)}", rows)),
        },
        size.runs,
    )
    store = make_store(folder / "store", rows)
    write_npy(folder / "npy", rows)
    generator = np.random.default_rng(1)
    ids = list(rows)
    spans = [
        (ids[at], float(start))
        for at, start in zip(
            generator.integers(len(ids), size=size.spans),
            generator.uniform(0, _SECONDS - _SPAN_SECONDS, size.spans),
            strict=True,
        )
    ]

    def from_store() -> list[np.ndarray]:
        return [store.read_span(_SPACE.name, video, start, start + _SPAN_SECONDS) for video, start in spans]

    def from_npy() -> list[np.ndarray]:
        return [
            np.array(
                np.load(folder / "npy" / f"{video}.npy", mmap_mode="r")[int(start) : int(start + _SPAN_SECONDS) + 1]
            )
            for video, start in spans
        ]

    assert all(np.array_equal(a, b) for a, b in zip(from_store(), from_npy(), strict=True))
    read = alternated({"store": lambda: seconds(from_store), "npy": lambda: seconds(from_npy)}, size.runs)
    part, checked = "storage, against .npy files", "rows of all spans, equal in every bit"
    yield Figure(
        part, "writing a shard", "times as fast", ratios(written["npy"], written["store"]), checked, "at least", 1
    )
    yield Figure(
        part, "random spans of 7.5 s", "times as fast", ratios(read["npy"], read["store"]), checked, "at least", 1
    )
    micro = [1e6 * each / len(spans) for each in read["store"]]
    yield Figure(part, "a span from the store", "us", Spread.of(micro), checked)
    found = [
        measure_samples(folder / f"samples-{number}", SampleSize(max(2, size.stored_videos // 3), 3.0, 64), 2)
        for number in range(size.runs)
    ]
    store_to_npy = [each["reader_store_samples_per_second"] / each["reader_npy_samples_per_second"] for each in found]
    checked = "pooled windows of all methods"
    yield Figure(part, "HowTo100M samples", "times as fast", Spread.of(store_to_npy), checked, "at least", 1)
    published = [each["reader_store_ratio"] for each in found]
    yield Figure(
        part, "HowTo100M samples, against the published loader", "times as fast", Spread.of(published), checked
    )
