"""Shards and videos that a rerun extracts again, complete or not."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reeldex.errors import UsageError
from reeldex.flows.extraction.plan import ShardTask, published_spaces, stored_spaces
from reeldex.flows.extraction.shard_work import inspect_if_incomplete
from reeldex.quantities import counted
from reeldex.storage.removed import read_removed
from reeldex.storage.similar_names import nearest

if TYPE_CHECKING:
    from reeldex.storage.manifest import ShardManifest
    from reeldex.storage.store import FeatureStore


@dataclass(frozen=True)
class Choice:
    """Shards by number, and videos by id. Empty: nothing is chosen."""

    shards: tuple[int, ...] = ()
    videos: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.shards or self.videos)


NOTHING_CHOSEN = Choice()


def chosen(store: FeatureStore, choice: Choice) -> list[ShardTask]:
    """Return the shards that hold a choice of shards and videos, with the positions to extract again.

    Duplicates, and videos that are superseded or forgotten, are not extracted. Raises UsageError for a shard or video
    that the store does not have.
    """
    count = store.shard_count()
    positions: dict[int, set[int]] = {}
    for shard in choice.shards:
        if not 0 <= shard < count:
            numbers = f", numbered 0 to {count - 1}" if count else ""
            raise UsageError(f"{store.path} has no shard {shard}; it has {counted(count, 'shard')}{numbers}.")
        positions.setdefault(shard, set()).update(
            at
            for at, entry in enumerate(store.manifest(shard).videos)
            if entry.duplicate_of is None and at not in store.uncounted(shard)
        )
    for video_id in choice.videos:
        place = store.place(video_id)
        if place is None:
            guess = nearest(video_id, [entry.video_id for entry in store.current_entries()])
            raise UsageError(f"{store.path} has no video {video_id!r}.{guess} `reeldex ls` shows what it holds.")
        shard, at = place
        positions.setdefault(shard, set()).add(at)
    return [_redone(store, store.manifest(shard), redo) for shard, redo in sorted(positions.items()) if redo]


def _redone(store: FeatureStore, manifest: ShardManifest, redo: Collection[int]) -> ShardTask:
    spaces = read_removed(store.path).wanted(manifest.shard, manifest.spaces, published_spaces(store, manifest.shard))
    inspection = inspect_if_incomplete(store, manifest.shard, stored_spaces(store, spaces))
    return ShardTask(
        manifest.shard,
        len(manifest.videos),
        spaces,
        inspection=inspection,
        redo=tuple(sorted(redo)),
        complete=inspection is None,
    )
