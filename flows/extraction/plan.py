"""The plan of a run: which videos are new, and which shards are incomplete."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reeldex.flows.extraction.shard_work import inspect_if_incomplete
from reeldex.storage.errors import StoreDamagedError, UnknownSpaceError
from reeldex.storage.growth import Growth, StoreSize, plan_growth
from reeldex.storage.removed import read_removed
from reeldex.storage.schema import FeatureSpace

if TYPE_CHECKING:
    from reeldex.extractors.options import DecodeOptions
    from reeldex.storage.inspection import Inspection
    from reeldex.storage.schema import JSON, VideoEntry
    from reeldex.storage.store import FeatureStore


@dataclass(frozen=True)
class ShardTask:
    """A shard to process, its number of videos, and the names of the feature spaces it must have.

    Videos that failed for a reason in `retry` are retried; videos at the positions `redo` are extracted in any case. Of
    a `complete` shard, only these are. `decode` are the options of decoding if they are not those of the run's
    configuration. `inspection` is what the plan saw of the shard on disk; None for a complete
    shard, and for a new one, of which nothing is on disk.
    """

    shard: int
    videos: int
    spaces: tuple[str, ...]
    retry: tuple[str, ...] = ()
    inspection: Inspection | None = field(default=None, compare=False, repr=False)
    redo: tuple[int, ...] = ()
    complete: bool = False
    decode: DecodeOptions | None = None


def plan(  # noqa: PLR0913 - facts about one scan, the last by keyword
    store: FeatureStore | None,
    found: Sequence[VideoEntry],
    spaces: Sequence[str],
    videos_per_shard: int,
    decode: DecodeOptions,
    *,
    settling: Collection[str] = (),
    exists: Callable[[str], bool] = os.path.exists,
) -> Growth:
    """Return what the videos `found` add to the store (None: an empty store). Writes nothing.

    `settling` are the ids of videos that are left to the next run. Of the store, only shards with these ids are read.
    `exists` is asked about files that the store knows.
    """
    ids = [*(entry.video_id for entry in found), *settling]
    return plan_growth(
        store.manifests_with(ids) if store is not None else (),
        found,
        videos_per_shard=videos_per_shard,
        spaces=spaces,
        exists=exists,
        has_features=lambda video_id: store is not None and _has_features(store, video_id),
        forgotten=store.forgotten().positions if store is not None else (),
        decode=decode.definition(),
        size=StoreSize(store.shard_count(), store.video_count()) if store is not None else None,
        settling=settling,
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
    spaces, complete = stored_spaces(store, names), store.complete_shards()
    tasks = [
        ShardTask(manifest.shard, len(manifest.videos), tuple(names), inspection=inspection)
        for manifest in store.manifests_with(ids)
        if any(entry.video_id in ids for entry in manifest.videos)
        and (inspection := inspect_if_incomplete(store, manifest.shard, spaces, complete=complete)) is not None
    ]
    complete.keep()
    return tasks


def unfinished(store: FeatureStore, retry: Sequence[str] = ()) -> list[ShardTask]:
    """Return the shards that are incomplete in their planned feature spaces, or contain failures to `retry`.

    Compares fingerprints as `tasks_for` does; imported features count as complete too.
    """
    known: dict[tuple[str, ...], list[FeatureSpace]] = {}
    tasks = []
    removed, complete = read_removed(store.path), store.complete_shards()
    for shard in range(store.shard_count()):
        made = published_spaces(store, shard) if removed.spaces else ()
        names = removed.wanted(shard, store.planned_spaces(shard), made)
        if names not in known:
            known[names] = stored_spaces(store, names)
        inspection = inspect_if_incomplete(store, shard, known[names], retry, complete)
        if inspection is not None:
            tasks.append(ShardTask(shard, len(inspection.manifest.videos), names, tuple(retry), inspection))
    complete.keep()
    return tasks


def published_spaces(store: FeatureStore, shard: int) -> tuple[str, ...]:
    """Return the spaces of a shard's outcomes; none if it has no outcomes yet, or damaged ones."""
    try:
        outcomes = store.outcomes(shard)
    except StoreDamagedError:
        # The inspection of the shard reports it.
        return ()
    return tuple(outcomes.files) if outcomes is not None else ()
