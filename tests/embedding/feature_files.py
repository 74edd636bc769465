"""Small real features: rows of synthetic videos in a store, in folders of .npy files, and in published files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reeldex.storage.npy_import import import_npy
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
