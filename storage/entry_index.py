"""Finds the shards that hold a video id or a path, without reading the manifests of the others.

Of every entry of a manifest, two keys of 64 bits are kept: those of its id and of its path. What has an equal key is
then read from the manifest, so that the index never says what a store holds, only where to look.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from reeldex.storage.manifest import ShardManifest
from reeldex.storage.outcomes import ShardOutcomes
from reeldex.storage.schema import VideoEntry, VideoOutcome

ENTRY = np.dtype([("id", "<u8"), ("path", "<u8"), ("duplicate", "?")])
"""The keys of one entry, and whether it is a duplicate."""

_Keys = npt.NDArray[np.uint64]
_Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class EntryKeys:
    """Of one shard, the keys of its entries in their order, (videos,) of ENTRY, and its planned feature spaces.

    `digest` is that of all its ids and paths.
    """

    keys: npt.NDArray[np.void]
    spaces: tuple[str, ...]
    digest: str

    @classmethod
    def of(cls, manifest: ShardManifest) -> EntryKeys:
        """Return those of a manifest."""
        keys = [(_id_key(each.video_id), _key(each.path), each.duplicate_of is not None) for each in manifest.videos]
        return cls(np.array(keys, ENTRY), manifest.spaces, _digest(manifest.videos))

    @classmethod
    def from_bytes(cls, content: bytes) -> EntryKeys:
        """Undo `to_bytes`."""
        line, _, keys = content.partition(b"\n")
        digest, *spaces = line.decode("ascii").split()
        return cls(np.frombuffer(keys, ENTRY), tuple(spaces), digest)

    def to_bytes(self) -> bytes:
        """Return it as bytes: a line with the digest and the feature spaces, then the keys."""
        return " ".join((self.digest, *self.spaces)).encode("ascii") + b"\n" + self.keys.tobytes()

    def are_of(self, outcomes: ShardOutcomes) -> bool:
        """Whether outcomes are those of these entries, by id and path."""
        return _digest(outcomes.videos) == self.digest


def _id_key(video_id: str) -> int:
    # Accents in two Unicode forms are one spelling.
    return _key(video_id if video_id.isascii() else unicodedata.normalize("NFC", video_id))


def _key(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _digest(videos: Iterable[VideoEntry | VideoOutcome]) -> str:
    # Neither ids nor paths contain a NUL character.
    text = "\0".join(f"{each.video_id}\0{each.path}" for each in videos)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class EntryIndex:
    """The keys of all entries of a store; `shards` has those of each shard, in order."""

    def __init__(self, shards: Sequence[EntryKeys]) -> None:
        self.shards = shards
        self._starts: _Rows = np.cumsum([0, *(len(each.keys) for each in shards)])
        entries = np.concatenate([each.keys for each in shards]) if shards else np.empty(0, ENTRY)
        # Contiguous, unlike the fields of an array of entries.
        self._ids: _Keys = np.ascontiguousarray(entries["id"])
        self._paths: _Keys = np.ascontiguousarray(entries["path"])
        self._duplicate: npt.NDArray[np.bool_] = np.ascontiguousarray(entries["duplicate"])

    def shards_with(self, ids: Iterable[str] = (), paths: Iterable[str] = ()) -> list[int]:
        """Return the shards with an entry of one of these ids or paths, in order, and maybe a few others."""
        by_id = _rows_of([_id_key(each) for each in ids], *self._by_id)
        by_path = _rows_of([_key(each) for each in paths], *self._by_path)
        return self._shards(np.union1d(by_id, by_path))

    def positions_by_shard(self, ids: Iterable[str]) -> dict[int, tuple[int, ...]]:
        """Return the positions of the entries with one of these ids, by shard, and maybe those of a few others."""
        rows = _rows_of([_id_key(each) for each in ids], *self._by_id)
        found: dict[int, list[int]] = {}
        for row in np.sort(rows).tolist():
            shard = int(self._starts.searchsorted(row, side="right")) - 1
            found.setdefault(shard, []).append(row - int(self._starts[shard]))
        return {shard: tuple(positions) for shard, positions in found.items()}

    def places_of(self, video_id: str) -> list[tuple[int, int]]:
        """Return the (shard, position) of the entries with this id, in order, and maybe of a few others."""
        key = np.uint64(_id_key(video_id))
        order, ordered = self._by_id
        first = int(ordered.searchsorted(key))
        rows = []
        while first < len(ordered) and ordered[first] == key:
            rows.append(int(order[first]))
            first += 1
        shards = [int(self._starts.searchsorted(row, side="right")) - 1 for row in sorted(rows)]
        return [(shard, row - int(self._starts[shard])) for shard, row in zip(shards, sorted(rows), strict=True)]

    def shards_with_repeated_ids(self, forgotten: Collection[tuple[int, int]]) -> list[int]:
        """Return the shards with an entry whose id another one has too; those `forgotten` do not count."""
        rows = self._remaining(forgotten)
        found, at, counts = np.unique(self._ids[rows], return_inverse=True, return_counts=True)
        return self._shards(rows[counts[at] > 1]) if len(found) < len(rows) else []

    def video_count(self, forgotten: Collection[tuple[int, int]]) -> int:
        """Return the number of ids; duplicates and entries that are forgotten do not count."""
        rows = self._remaining(forgotten)
        return len(np.unique(self._ids[rows[~self._duplicate[rows]]]))

    def _remaining(self, forgotten: Collection[tuple[int, int]]) -> _Rows:
        rows = np.arange(len(self._ids))
        gone = [int(self._starts[shard]) + position for shard, position in forgotten if shard + 1 < len(self._starts)]
        return np.setdiff1d(rows, gone) if gone else rows

    def _shards(self, rows: _Rows) -> list[int]:
        found: list[int] = np.unique(np.searchsorted(self._starts, rows, side="right") - 1).tolist()
        return found

    @cached_property
    def _by_id(self) -> tuple[_Rows, _Keys]:
        order = np.argsort(self._ids)
        return order, self._ids[order]

    @cached_property
    def _by_path(self) -> tuple[_Rows, _Keys]:
        order = np.argsort(self._paths)
        return order, self._paths[order]


def _rows_of(wanted: Sequence[int], order: _Rows, ordered: _Keys) -> _Rows:
    """Return the rows whose key is wanted; `ordered` are the keys in the `order` of their size."""
    sought = np.unique(np.array(wanted, np.uint64))
    first, stop = (np.searchsorted(ordered, sought, side=side) for side in ("left", "right"))
    counts = stop - first
    # All of first[k] .. stop[k] - 1, one after the other.
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    rows: _Rows = order[np.repeat(first, counts) + within]
    return rows
