"""The record of feature spaces that were removed from shards on purpose: manifests, which name them, never change."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.documents import read_document, write_document
from reeldex.storage.json_codec import Integer, Text, to_json
from reeldex.storage.schema import check_space_name

_KIND = "removed"


@dataclass(frozen=True)
class RemovedSpace:
    """A feature space that was removed from some shards. Raises ValueError for a bad name."""

    space: Text
    shards: tuple[Integer, ...]

    def __post_init__(self) -> None:
        check_space_name(self.space)


@dataclass(frozen=True)
class Removed:
    """All removed feature spaces."""

    spaces: tuple[RemovedSpace, ...] = field(default_factory=tuple)

    def wanted(self, shard: int, planned: Sequence[str], made: Collection[str]) -> tuple[str, ...]:
        """Return the spaces that a shard is to have: those planned, without removed ones that were not `made` again."""
        removed = {each.space for each in self.spaces if shard in each.shards} - set(made)
        return tuple(space for space in planned if space not in removed)


def read_removed(root: Path) -> Removed:
    """Return the record of a store, empty if there is none. Raises StoreDamagedError and StoreUnreadableError."""
    try:
        return read_document(layout.removed_file(root), _KIND, Removed)
    except FileNotFoundError:
        return Removed()


def add_removed(root: Path, space: str, shards: Collection[int]) -> None:
    """Record that a space is removed from these shards. Requires the store's lock."""
    known = {each.space: set(each.shards) for each in read_removed(root).spaces}
    known.setdefault(space, set()).update(shards)
    spaces = tuple(RemovedSpace(name, tuple(sorted(numbers))) for name, numbers in sorted(known.items()))
    write_document(layout.removed_file(root), _KIND, to_json(Removed(spaces)))
