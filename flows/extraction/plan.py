"""The plan of a run: which videos are new, and which shards are incomplete."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.errors import UsageError
from reeldex.flows.extraction.shard_work import work_left
from reeldex.quantities import counted
from reeldex.storage.errors import StoreDamagedError, UnknownSpaceError
from reeldex.storage.manifest import Growth, latest_entries, plan_growth, superseded_positions
from reeldex.storage.schema import FeatureSpace

if TYPE_CHECKING:
    from reeldex.storage.manifest import ShardManifest
    from reeldex.storage.schema import JSON, VideoEntry
    from reeldex.storage.store import FeatureStore


@dataclass(frozen=True)
class ShardTask:
    """A shard to process, its number of videos, and the names of the feature spaces it must have.

    Videos that failed for a reason in `retry` are retried; videos at the positions `redo` are extracted in any case. Of
    a `complete` shard, only these are.
    """

    shard: int
    videos: int
    spaces: tuple[str, ...]
    retry: tuple[str, ...] = ()
    redo: tuple[int, ...] = ()
    complete: bool = False


def plan(
    store: FeatureStore | None, found: Sequence[VideoEntry], spaces: Sequence[str], videos_per_shard: int
) -> Growth:
    """Return what the videos `found` add to the store (None: an empty store). Writes nothing."""
    return plan_growth(
        store.manifests() if store is not None else (),
        found,
        videos_per_shard=videos_per_shard,
        spaces=spaces,
        exists=lambda path: Path(path).exists(),
        has_features=lambda video_id: store is not None and _has_features(store, video_id),
    )


def _has_features(store: FeatureStore, video_id: str) -> bool:
    outcome = store.outcome(video_id)
    return outcome is not None and bool(outcome.rows)


def stored_spaces(store: FeatureStore, names: Sequence[str]) -> list[FeatureSpace]:
    """Return these spaces with the fingerprints of the store's own files.

    A feature space without files in the store gets an empty fingerprint, which matches nothing.
    """
    return [FeatureSpace(name, _stored_fingerprint(store, name)) for name in names]


def _stored_fingerprint(store: FeatureStore, name: str) -> Mapping[str, JSON]:
    try:
        return store.fingerprint(name)
    except (UnknownSpaceError, StoreDamagedError):
        return {}


def tasks_for(store: FeatureStore, found: Sequence[VideoEntry], names: Sequence[str]) -> list[ShardTask]:
    """Return the shards that contain any of the videos `found` and are incomplete in the named feature spaces.

    Compares the fingerprints in the store, so that no network is loaded for complete shards.
    """
    ids = {entry.video_id for entry in found}
    spaces = stored_spaces(store, names)
    return [
        ShardTask(manifest.shard, len(manifest.videos), tuple(names))
        for manifest in store.manifests()
        if any(entry.video_id in ids for entry in manifest.videos) and work_left(store, manifest.shard, spaces)
    ]


def unfinished(store: FeatureStore, retry: Sequence[str] = ()) -> list[ShardTask]:
    """Return the shards that are incomplete in their planned feature spaces, or contain failures to `retry`.

    Compares fingerprints as `tasks_for` does; imported features count as complete too.
    """
    known: dict[tuple[str, ...], list[FeatureSpace]] = {}
    tasks = []
    for manifest in store.manifests():
        names = manifest.spaces
        if names not in known:
            known[names] = stored_spaces(store, names)
        spaces = known[names]
        if work_left(store, manifest.shard, spaces, retry):
            tasks.append(ShardTask(manifest.shard, len(manifest.videos), names, tuple(retry)))
    return tasks


@dataclass(frozen=True)
class Choice:
    """Shards and videos to extract again, complete or not: by number and by id. Empty: nothing is chosen."""

    shards: tuple[int, ...] = ()
    videos: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.shards or self.videos)


NOTHING_CHOSEN = Choice()


def chosen(store: FeatureStore, choice: Choice) -> list[ShardTask]:
    """Return the shards that hold a choice of shards and videos, with the positions to extract again.

    Duplicates, and videos that a later shard has superseded, are not extracted. Raises UsageError for a shard or video
    that the store does not have.
    """
    manifests = store.manifests()
    superseded = superseded_positions(manifests)
    positions: dict[int, set[int]] = {}
    for shard in choice.shards:
        if not 0 <= shard < len(manifests):
            has = f"numbered 0 to {len(manifests) - 1}" if manifests else "none"
            raise UsageError(f"{store.path} has no shard {shard}; it has {counted(len(manifests), 'shard')}, {has}.")
        positions.setdefault(shard, set()).update(
            at
            for at, entry in enumerate(manifests[shard].videos)
            if entry.duplicate_of is None and (shard, at) not in superseded
        )
    latest = latest_entries(manifests)
    for video_id in choice.videos:
        if video_id not in latest:
            near = difflib.get_close_matches(video_id, latest, n=3)
            guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise UsageError(f"{store.path} has no video {video_id!r}.{guess} `reeldex status` shows what it holds.")
        shard, at, _ = latest[video_id]
        positions.setdefault(shard, set()).add(at)
    return [_redone(store, manifests[shard], redo) for shard, redo in sorted(positions.items()) if redo]


def _redone(store: FeatureStore, manifest: ShardManifest, redo: Collection[int]) -> ShardTask:
    complete = not work_left(store, manifest.shard, stored_spaces(store, manifest.spaces))
    return ShardTask(manifest.shard, len(manifest.videos), manifest.spaces, redo=tuple(sorted(redo)), complete=complete)
