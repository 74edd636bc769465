"""What a run has to do: which videos are new, which shards lack something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.shard_work import work_left
from storage.errors import StoreDamagedError, UnknownSpaceError
from storage.manifest import Growth, plan_growth
from storage.schema import FeatureSpace

if TYPE_CHECKING:
    from storage.schema import VideoEntry
    from storage.store import FeatureStore


@dataclass(frozen=True)
class ShardTask:
    """A shard to work on and the names of the spaces it is to have; `retry`: reasons to try failed videos again for."""

    shard: int
    spaces: tuple[str, ...]
    retry: tuple[str, ...] = ()


def plan(store: FeatureStore, found: Sequence[VideoEntry], spaces: Sequence[str], videos_per_shard: int) -> Growth:
    """Return what the videos `found` add to the store. Writes nothing."""
    return plan_growth(
        store.manifests(),
        found,
        videos_per_shard=videos_per_shard,
        spaces=spaces,
        exists=lambda path: Path(path).exists(),
        has_features=lambda video_id: _has_features(store, video_id),
    )


def _has_features(store: FeatureStore, video_id: str) -> bool:
    outcome = store.outcome(video_id)
    return outcome is not None and bool(outcome.rows)


def tasks_for(store: FeatureStore, found: Sequence[VideoEntry], spaces: Sequence[FeatureSpace]) -> list[ShardTask]:
    """Return the shards that hold any of the videos `found` and lack something in these spaces."""
    ids = {entry.video_id for entry in found}
    names = tuple(space.name for space in spaces)
    return [
        ShardTask(manifest.shard, names)
        for manifest in store.manifests()
        if any(entry.video_id in ids for entry in manifest.videos) and work_left(store, manifest.shard, spaces)
    ]


def stored_spaces(store: FeatureStore, names: Sequence[str]) -> list[FeatureSpace] | None:
    """Return these spaces with the fingerprints of the store's own files, None if one has no file to tell it."""
    try:
        return [FeatureSpace(name, store.fingerprint(name)) for name in names]
    except (UnknownSpaceError, StoreDamagedError):
        return None


def unfinished(store: FeatureStore, retry: Sequence[str] = ()) -> list[ShardTask]:
    """Return the shards that lack something of the spaces they were planned for, or hold failures to `retry`.

    Judged by the fingerprints that the store holds, so that no network is loaded for what is complete, and features
    that were imported count as complete too.
    """
    tasks = []
    for manifest in store.manifests():
        names = manifest.spaces
        spaces = stored_spaces(store, names)
        if spaces is None or work_left(store, manifest.shard, spaces, retry):
            tasks.append(ShardTask(manifest.shard, names, tuple(retry)))
    return tasks
