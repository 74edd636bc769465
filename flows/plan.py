"""What a run has to do: which videos are new, which shards lack something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from extractors.errors import UnknownExtractorError
from extractors.registry import extractor_of_space
from flows.shard_work import work_left
from storage.manifest import Growth, plan_growth

if TYPE_CHECKING:
    from storage.manifest import ShardManifest
    from storage.schema import FeatureSpace, VideoEntry
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


def extractable_spaces(manifest: ShardManifest) -> tuple[str, ...]:
    """Return those of a shard's spaces that an extractor here makes; imported ones of other names are left out."""
    names = []
    for name in manifest.spaces:
        try:
            extractor_of_space(name)
        except UnknownExtractorError:
            continue
        names.append(name)
    return tuple(names)
