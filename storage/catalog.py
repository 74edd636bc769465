"""A store's manifests and outcomes, each read when it is needed and again when it has changed on disk."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from reeldex.quantities import counted
from reeldex.storage import layout
from reeldex.storage.bounded_cache import BoundedCache
from reeldex.storage.derived import DerivedRows, RowKind, form_of
from reeldex.storage.durations import with_durations
from reeldex.storage.entry_index import ENTRY, EntryIndex, EntryKeys
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
from reeldex.storage.system_errors import FileVersion, file_version, file_versions, look_at

# Timestamps of files are coarser than the clock; a folder changed this recently may change again unseen.
_SETTLED_AFTER_NS = 1_000_000_000

_ENTRIES = RowKind("entries", f"{form_of(EntryKeys)} {ENTRY.descr}")
VIDEOS_KEPT = 250_000
"""Of so many videos, entries and outcomes are kept in memory: about 1.5 kB per video."""


class Catalog:
    """Manifests and outcomes of a store; each file is read once per version.

    Looking up a video reads the manifests that may name it, and not the others. What was read is kept of the
    `videos_kept` videos used last; beyond them, files are read again. Every method raises StoreDamagedError when a file
    it needs is damaged, and StoreUnreadableError when the system does not allow reading it.
    """

    def __init__(self, root: Path, videos_kept: int = VIDEOS_KEPT) -> None:
        self._root = root
        self._stamp: int | None = None
        self._shards = 0
        self._first: FileVersion | None = None
        self._manifests = BoundedCache[int, ShardManifest](videos_kept)
        self._all: tuple[ShardManifest, ...] = ()
        self._index = EntryIndex(())
        self._found = BoundedCache[str, tuple[str, int, int, VideoEntry]](videos_kept)
        self._found_in: tuple[object, ...] = ()
        self._latest: dict[str, tuple[int, int, VideoEntry]] = {}
        self._latest_of: tuple[object, ...] = ()
        self._forgotten: tuple[FileVersion | None, Forgotten] = (None, NOTHING_FORGOTTEN)
        self._uncounted: dict[int, frozenset[int]] = {}
        self._uncounted_of: tuple[object, ...] = ()
        self._outcomes = BoundedCache[int, tuple[FileVersion, ShardOutcomes]](videos_kept)

    @property
    def root(self) -> Path:
        """The folder of the store."""
        return self._root

    def shard_count(self) -> int:
        """Return the number of shards; lists the manifests if their folder has changed."""
        folder = self._root / layout.MANIFEST
        status = look_at(folder)
        if status is None:
            raise StoreDamagedError(f"{folder} is missing. Restore it from a backup: it names the videos of the store.")
        stamp = status.st_mtime_ns
        if stamp != self._stamp:
            settled = time.time_ns() - stamp > _SETTLED_AFTER_NS
            self._shards = len(list_shards(self._root))
            self._forget_another_store()
            self._stamp = stamp if settled else None
        return self._shards

    def _forget_another_store(self) -> None:
        """Forget all manifests if another store has taken the place of the one they are of."""
        before, self._first = self._first, file_version(layout.manifest_file(self._root, 0))
        if before is not None and self._first != before:
            self._all, self._index = (), EntryIndex(())
            self._manifests.clear()
            self._outcomes.clear()

    def manifest(self, shard: int) -> ShardManifest:
        """Return the manifest of one shard; raises ValueError when there is no such shard."""
        count = self.shard_count()
        if not 0 <= shard < count:
            raise ValueError(f"{self._root} has no shard {shard}; it has {counted(count, 'shard')}, numbered from 0.")
        known = self._manifests.get(shard)
        if known is None and shard < len(self._all):
            known = self._all[shard]
        if known is None:
            # A manifest never changes once it is written.
            known = read_manifest(layout.manifest_file(self._root, shard))
            self._manifests.put(shard, known, len(known.videos))
        return known

    def manifests(self) -> tuple[ShardManifest, ...]:
        """Return all manifests in the order of their shards. Of a large store, this takes seconds, and memory."""
        count = self.shard_count()
        if len(self._all) != count:
            self._all = tuple(self.manifest(shard) for shard in range(count))
        return self._all

    def manifests_with(self, ids: Iterable[str] = (), paths: Iterable[str] = ()) -> list[ShardManifest]:
        """Return the manifests with an entry of one of these ids or paths, in order, and maybe a few others."""
        return [self.manifest(shard) for shard in self.index().shards_with(ids, paths)]

    def index(self) -> EntryIndex:
        """Return the index of all entries: of a large store, from the cache on disk and the manifests new to it."""
        count = self.shard_count()
        known = self._index.shards[:count]
        if len(known) != count or len(self._index.shards) != count:
            self._index = EntryIndex([*known, *self._keys_of(range(len(known), count))])
        return self._index

    def _keys_of(self, shards: range) -> list[EntryKeys]:
        rows = DerivedRows(self._root, shards.stop)
        if not rows.used:
            return [EntryKeys.of(self.manifest(shard)) for shard in shards]
        cached = rows.read(_ENTRIES)
        versions = file_versions(self._root / layout.MANIFEST)
        found, new = [], {}
        for shard in shards:
            path = layout.manifest_file(self._root, shard)
            version = str(versions.get(path.name))
            known_version, content = cached.get(shard, ("", b""))
            if known_version == version:
                found.append(EntryKeys.from_bytes(content))
            else:
                # Not kept in memory: a store may have a million videos.
                found.append(EntryKeys.of(self._manifests.get(shard) or read_manifest(path)))
                new[shard] = (version, found[-1].to_bytes())
        rows.write(_ENTRIES, new)
        return found

    def video_count(self) -> int:
        """Return the number of videos, each counted once whatever its versions; without forgotten ones."""
        return self.index().video_count(self.forgotten().positions)

    def forgotten(self) -> Forgotten:
        """Return the entries that were forgotten."""
        version = file_version(layout.forgotten_file(self._root))
        if version != self._forgotten[0]:
            self._forgotten = (version, read_forgotten(self._root))
        return self._forgotten[1]

    def latest(self) -> dict[str, tuple[int, int, VideoEntry]]:
        """Map each video id to the (shard, position, entry) of its latest version; without forgotten ones."""
        current = (self.manifests(), self.forgotten())
        if not _same(current, self._latest_of):
            self._latest = latest_entries(current[0], current[1].positions)
            self._latest_of = current
        return self._latest

    def uncounted(self, shard: int) -> frozenset[int]:
        """Return the positions of a shard whose videos do not count: those of superseded and of forgotten entries."""
        return self.uncounted_by_shard().get(shard, frozenset())

    def uncounted_by_shard(self) -> Mapping[int, frozenset[int]]:
        """Return what `uncounted` does of each shard with such positions."""
        index, forgotten = self.index(), self.forgotten()
        if not _same((index, forgotten), self._uncounted_of):
            found: dict[int, set[int]] = {}
            repeated = [self.manifest(each) for each in index.shards_with_repeated_ids(forgotten.positions)]
            for at, position in superseded_positions(repeated, forgotten.positions) | forgotten.positions:
                found.setdefault(at, set()).add(position)
            self._uncounted = {at: frozenset(positions) for at, positions in found.items()}
            self._uncounted_of = (index, forgotten)
        return self._uncounted

    def find(self, video_id: str) -> tuple[str, int, int, VideoEntry] | None:
        """Return the (id, shard, position, entry) of a video's latest version; None for an unknown id.

        Accents in another Unicode form match; the id returned is the store's spelling.
        """
        index, forgotten = self.index(), self.forgotten()
        if not _same((index, forgotten), self._found_in):
            self._found.clear()
            self._found_in = (index, forgotten)
        known = self._found.get(video_id)
        if known is None:
            versions: dict[str, tuple[int, int, VideoEntry]] = {}
            for shard, position in index.places_of(video_id):
                entry = self.manifest(shard).videos[position]
                if entry.duplicate_of is None and (shard, position) not in forgotten.positions:
                    versions[entry.video_id] = (shard, position, entry)
            spelled = Spellings(versions).of(video_id)
            if spelled not in versions:
                return None
            known = (spelled, *versions[spelled])
            self._found.put(video_id, known)
        return known

    def outcomes(self, shard: int) -> ShardOutcomes | None:
        """Return a shard's outcomes, or None if it has none yet; durations that they lack are taken from the rows."""
        version = file_version(layout.outcomes_file(self._root, shard))
        if version is None:
            return None
        known = self._outcomes.get(shard)
        if known and known[0] == version:
            return known[1]
        outcomes = self.read_outcomes(shard)
        if outcomes is not None:
            self._outcomes.put(shard, (version, outcomes), len(outcomes.videos))
        return outcomes

    def read_outcomes(self, shard: int) -> ShardOutcomes | None:
        """Return what `outcomes` does, read now and not kept in memory: for going through all shards once."""
        outcomes = read_outcomes(self._root, shard)
        if outcomes is None:
            return None
        if not self._is_of_entries(outcomes) and (disagreement := outcomes.disagreement(self.manifest(shard))):
            raise StoreDamagedError(disagreement)
        return with_durations(self._root, outcomes)

    def walk(self) -> Iterator[tuple[ShardManifest, ShardOutcomes | None]]:
        """Yield the manifest and the outcomes of each shard in order; keeps one shard in memory at a time."""
        for shard in range(self.shard_count()):
            manifest = self._manifests.get(shard) or read_manifest(layout.manifest_file(self._root, shard))
            yield manifest, self.read_outcomes(shard)

    def _is_of_entries(self, outcomes: ShardOutcomes) -> bool:
        """Whether outcomes are known to be those of their manifest, without reading it."""
        shards = self.index().shards
        return outcomes.shard < len(shards) and shards[outcomes.shard].are_of(outcomes)


def _same(now: tuple[object, ...], then: tuple[object, ...]) -> bool:
    return len(now) == len(then) and all(a is b for a, b in zip(now, then, strict=True))
