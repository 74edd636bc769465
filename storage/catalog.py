"""An in-memory cache of a store's manifests and outcomes, invalidated when they change on disk."""

from __future__ import annotations

import time
from pathlib import Path

from reeldex.quantities import counted
from reeldex.storage import layout
from reeldex.storage.durations import with_durations
from reeldex.storage.errors import StoreDamagedError
from reeldex.storage.forgotten import NOTHING_FORGOTTEN, Forgotten, read_forgotten
from reeldex.storage.manifest import (
    ShardManifest,
    Spellings,
    latest_entries,
    list_shards,
    read_manifest,
    superseded_positions,
)
from reeldex.storage.outcomes import ShardOutcomes, read_outcomes
from reeldex.storage.schema import VideoEntry
from reeldex.storage.system_errors import FileVersion, file_version, look_at

# Timestamps of files are coarser than the clock; a folder changed this recently may change again unseen.
_SETTLED_AFTER_NS = 1_000_000_000


class Catalog:
    """Manifests and outcomes of a store; each file is read once per version.

    Every method raises StoreDamagedError when a file it needs is damaged, and StoreUnreadableError when the system does
    not allow reading it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stamp: int | None = None
        self._manifests: tuple[ShardManifest, ...] = ()
        self._latest: dict[str, tuple[int, int, VideoEntry]] = {}
        self._spellings = Spellings(())
        self._latest_of: tuple[object, ...] = ()
        self._forgotten: tuple[FileVersion | None, Forgotten] = (None, NOTHING_FORGOTTEN)
        self._uncounted: dict[int, frozenset[int]] = {}
        self._uncounted_of: tuple[object, ...] = ()
        self._outcomes: dict[int, tuple[FileVersion, ShardOutcomes]] = {}

    def manifests(self) -> tuple[ShardManifest, ...]:
        """Return all manifests in the order of their shards."""
        folder = self._root / layout.MANIFEST
        status = look_at(folder)
        if status is None:
            raise StoreDamagedError(f"{folder} is missing. Restore it from a backup: it names the videos of the store.")
        stamp = status.st_mtime_ns
        if stamp != self._stamp:
            settled = time.time_ns() - stamp > _SETTLED_AFTER_NS
            shards = list_shards(self._root)
            if len(shards) != len(self._manifests):
                # A manifest never changes once it is written, so that only new ones have to be read.
                new = [read_manifest(layout.manifest_file(self._root, at)) for at in shards[len(self._manifests) :]]
                self._manifests = (*self._manifests[: len(shards)], *new)
            self._stamp = stamp if settled else None
        return self._manifests

    def manifest(self, shard: int) -> ShardManifest:
        """Return the manifest of one shard; raises ValueError when there is no such shard."""
        manifests = self.manifests()
        if not 0 <= shard < len(manifests):
            raise ValueError(
                f"{self._root} has no shard {shard}; it has {counted(len(manifests), 'shard')}, numbered from 0."
            )
        return manifests[shard]

    def forgotten(self) -> Forgotten:
        """Return the entries that were forgotten."""
        version = file_version(layout.forgotten_file(self._root))
        if version != self._forgotten[0]:
            self._forgotten = (version, read_forgotten(self._root))
        return self._forgotten[1]

    def latest(self) -> dict[str, tuple[int, int, VideoEntry]]:
        """Map each video id to the (shard, position, entry) of its latest version; without forgotten ones."""
        current = (self.manifests(), self.forgotten())
        if len(self._latest_of) != 2 or any(a is not b for a, b in zip(current, self._latest_of, strict=True)):
            self._latest = latest_entries(current[0], current[1].positions)
            self._spellings = Spellings(self._latest)
            self._latest_of = current
        return self._latest

    def uncounted(self, shard: int) -> frozenset[int]:
        """Return the positions of a shard whose videos do not count: those of superseded and of forgotten entries."""
        manifests, forgotten = self.manifests(), self.forgotten()
        if len(self._uncounted_of) != 2 or any(
            a is not b for a, b in zip((manifests, forgotten), self._uncounted_of, strict=True)
        ):
            found: dict[int, set[int]] = {}
            for at, position in superseded_positions(manifests, forgotten.positions) | forgotten.positions:
                found.setdefault(at, set()).add(position)
            self._uncounted = {at: frozenset(positions) for at, positions in found.items()}
            self._uncounted_of = (manifests, forgotten)
        return self._uncounted.get(shard, frozenset())

    def find(self, video_id: str) -> tuple[str, int, int, VideoEntry] | None:
        """Return the (id, shard, position, entry) of a video's latest version; None for an unknown id.

        Accents in another Unicode form match; the id returned is the store's spelling.
        """
        latest = self.latest()
        spelled = self._spellings.of(video_id)
        return (spelled, *latest[spelled]) if spelled in latest else None

    def outcomes(self, shard: int) -> ShardOutcomes | None:
        """Return a shard's outcomes, or None if it has none yet; durations that they lack are taken from the rows."""
        version = file_version(layout.outcomes_file(self._root, shard))
        if version is None:
            return None
        known = self._outcomes.get(shard)
        if known and known[0] == version:
            return known[1]
        outcomes = read_outcomes(self._root, shard)
        if outcomes is not None:
            if disagreement := outcomes.disagreement(self.manifest(shard)):
                raise StoreDamagedError(disagreement)
            outcomes = with_durations(self._root, outcomes)
            self._outcomes[shard] = (version, outcomes)
        return outcomes
