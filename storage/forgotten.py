"""The record of videos that a store no longer counts: manifests and published files never change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.documents import read_document, write_document
from reeldex.storage.json_codec import Integer, Text, to_json
from reeldex.storage.manifest import ShardManifest

_KIND = "forgotten"


@dataclass(frozen=True)
class ForgottenEntry:
    """One entry of a manifest that does not count any more."""

    shard: Integer
    position: Integer
    video_id: Text


@dataclass(frozen=True)
class Forgotten:
    """All entries that were forgotten, in the order in which they were."""

    entries: tuple[ForgottenEntry, ...] = field(default_factory=tuple)

    @cached_property
    def positions(self) -> frozenset[tuple[int, int]]:
        """The (shard, position) of each entry."""
        return frozenset((each.shard, each.position) for each in self.entries)


NOTHING_FORGOTTEN = Forgotten()


def read_forgotten(root: Path) -> Forgotten:
    """Return the record, empty if there is none. Raises StoreDamagedError and StoreUnreadableError."""
    try:
        return read_document(layout.forgotten_file(root), _KIND, Forgotten)
    except FileNotFoundError:
        return NOTHING_FORGOTTEN


def add_forgotten(root: Path, entries: Sequence[ForgottenEntry]) -> None:
    """Add entries to the record. Requires the store's lock."""
    known = read_forgotten(root)
    new = tuple(each for each in entries if (each.shard, each.position) not in known.positions)
    if new:
        write_document(layout.forgotten_file(root), _KIND, to_json(Forgotten((*known.entries, *new))))


def entries_of(
    manifests: Sequence[ShardManifest], forgotten: Forgotten, names: Sequence[str]
) -> dict[str, tuple[ForgottenEntry, ...]]:
    """Map each name to the entries with this id, or else with this path; empty for an unknown one.

    Earlier versions and duplicates of an id are included: otherwise they would take its place.
    """
    by_id: dict[str, list[ForgottenEntry]] = {}
    by_path: dict[str, list[ForgottenEntry]] = {}
    for manifest in manifests:
        for position, entry in enumerate(manifest.videos):
            if (manifest.shard, position) not in forgotten.positions:
                each = ForgottenEntry(manifest.shard, position, entry.video_id)
                by_id.setdefault(entry.video_id, []).append(each)
                by_path.setdefault(entry.path, []).append(each)
    return {name: tuple(by_id.get(name, by_path.get(name, []))) for name in names}
