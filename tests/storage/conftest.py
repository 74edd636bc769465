"""Small real features, and shards filled with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from reeldex.storage.growth import plan_growth
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoEntry, VideoOutcome
from reeldex.storage.store import FeatureStore

MakeRows = Callable[..., FeatureRows]
MakeEntry = Callable[..., VideoEntry]
Grow = Callable[..., None]
Fill = Callable[..., None]

TWO_D = FeatureSpace("net2d.v1", {"weights": "aa", "fps": 1})
THREE_D = FeatureSpace("net3d.v1", {"weights": "bb", "fps": 24})


@pytest.fixture
def two_d() -> FeatureSpace:
    return TWO_D


@pytest.fixture
def three_d() -> FeatureSpace:
    return THREE_D


@pytest.fixture
def make_rows() -> MakeRows:
    def make(seed: str = "", row_count: int = 6, width: int = 8, seconds_per_row: float = 1.0) -> FeatureRows:
        generator = np.random.default_rng(list(seed.encode("utf-8", "surrogateescape")))
        rows = generator.normal(size=(row_count, width)).astype(np.float16)
        return FeatureRows(rows, 0.0, seconds_per_row, row_count * seconds_per_row, truncated=False, source=seed)

    return make


@pytest.fixture
def make_entry() -> MakeEntry:
    def make(video_id: str, path: str | None = None, size: int | None = 10, mtime: int | None = 20) -> VideoEntry:
        return VideoEntry(video_id, path or f"/videos/{video_id}.mp4", size, None if size is None else mtime)

    return make


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store", create=True)


@pytest.fixture
def grow(store: FeatureStore, make_entry: MakeEntry) -> Grow:
    """Plan videos, given as ids or entries, into new shards."""

    def add(*videos: str | VideoEntry, videos_per_shard: int = 4, spaces: Sequence[FeatureSpace] = (TWO_D,)) -> None:
        found = [make_entry(video) if isinstance(video, str) else video for video in videos]
        growth = plan_growth(
            store.manifests(),
            found,
            videos_per_shard=videos_per_shard,
            spaces=[space.name for space in spaces],
            exists=lambda _: True,
        )
        store.add_shards(growth.new_shards)

    return add


@pytest.fixture
def fill(store: FeatureStore, make_rows: MakeRows) -> Fill:
    """Stage what a shard lacks, publish it unless told otherwise; `failing` maps ids to reasons."""

    def run(
        shard: int,
        spaces: Sequence[FeatureSpace] = (TWO_D,),
        *,
        failing: Mapping[str, str] | None = None,
        retry: Sequence[str] = (),
        publish: bool = True,
    ) -> None:
        entries = store.manifests()[shard].videos
        for position in store.pending_positions(shard, spaces, retry=retry):
            entry = entries[position]
            reason = (failing or {}).get(entry.video_id)
            if reason:
                failed = VideoOutcome(entry.video_id, entry.path, "failed", reason, f"{reason}!", attempts=1)
                store.staging(shard).put(position, failed, {})
                continue
            ok = VideoOutcome(entry.video_id, entry.path, "ok", None, "", attempts=1, duration_seconds=6.0)
            features = {space: make_rows(f"{entry.video_id} {space.name}") for space in spaces}
            store.staging(shard).put(position, ok, features)
        if publish:
            store.publish_shard(shard, spaces, provenance={"host": "test"}, seconds_of_work=1.5)

    return run
