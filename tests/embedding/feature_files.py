"""Small real features: rows of synthetic videos in a store, in folders of .npy files, and in published files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reeldex.embedding.damaged_rows import Ranges
from reeldex.storage.growth import plan_growth
from reeldex.storage.npy_import import import_npy
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoEntry, VideoOutcome
from reeldex.storage.store import FeatureStore

SPACES = ("resnet152.test", "resnext101_3d.test")
WIDTHS = (6, 4)
RATES = (1.0, 1.5)
VIDEOS = [f"video{at}" for at in range(6)]

Rows = npt.NDArray[np.float16]


def rows_of(video_id: str, seconds: int = 20) -> tuple[Rows, Rows]:
    """Rectified rows of a video, (seconds * rate, width) by stream, the same for the same id."""
    generator = np.random.default_rng(list(video_id.encode()))
    streams = [
        np.maximum(generator.normal(size=(int(seconds * rate), width)), 0).astype(np.float16)
        for rate, width in zip(RATES, WIDTHS, strict=True)
    ]
    return streams[0], streams[1]


def write_npy(folder: Path, videos: Mapping[str, tuple[Rows, Rows]]) -> tuple[Path, Path]:
    """Write `<folder>/<space>/<video id>.npy` for both spaces; returns the two folders."""
    for video_id, streams in videos.items():
        for space, rows in zip(SPACES, streams, strict=True):
            path = folder / space / f"{video_id}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, rows)
    return folder / SPACES[0], folder / SPACES[1]


def make_store(folder: Path, videos: Mapping[str, tuple[Rows, Rows]]) -> FeatureStore:
    """Make a store at `<folder>/store` that holds these videos."""
    write_npy(folder / "imported", videos)
    store = FeatureStore(folder / "store", create=True)
    with store.lock():
        import_npy(folder / "imported", store, seconds_per_row={SPACES[0]: 1.0, SPACES[1]: 16 / 24})
    return store


def make_damaged_store(
    folder: Path,
    videos: Mapping[str, tuple[Rows, Rows]],
    damaged: Mapping[str, tuple[Ranges | None, Ranges | None]],
    start_seconds: float = 0.0,
) -> FeatureStore:
    """Make a store as an extraction does, with damaged ranges of rows by video and stream; others have none.

    The rows begin at `start_seconds`, as those of a clip of a file do.
    """
    store = FeatureStore(folder / "store", create=True)
    spaces = [FeatureSpace(name, {"weights": name}) for name in SPACES]
    entries = [VideoEntry(video_id, f"/videos/{video_id}.mp4", 10, 20) for video_id in videos]
    growth = plan_growth([], entries, videos_per_shard=len(videos), spaces=SPACES, exists=lambda _: True)
    with store.lock():
        store.add_shards(growth.new_shards)
        for position, entry in enumerate(store.manifests()[0].videos):
            streams = zip(videos[entry.video_id], RATES, damaged.get(entry.video_id, ((), ())), strict=True)
            features = {
                space: FeatureRows(
                    rows,
                    start_seconds,
                    1 / rate,
                    len(rows) / rate,
                    truncated=False,
                    source=entry.path,
                    damaged_rows=bad,
                )
                for space, (rows, rate, bad) in zip(spaces, streams, strict=True)
            }
            outcome = VideoOutcome(entry.video_id, entry.path, "ok", None, "", attempts=1, duration_seconds=20.0)
            store.staging(0).put(position, outcome, features)
        store.publish_shard(0, spaces, provenance={"host": "test"}, seconds_of_work=1.0)
    return store
