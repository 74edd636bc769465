"""The assignment of videos to shards, which only grows: existing assignments never change."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.atomic import is_leftover
from reeldex.storage.documents import read_document, refuse, write_new_document
from reeldex.storage.errors import StoreDamagedError, StoreError
from reeldex.storage.json_codec import Integer, Text, to_json
from reeldex.storage.schema import JSONObject, Span, VideoEntry, check_space_name
from reeldex.storage.system_errors import list_folder

_KIND = "manifest"


@dataclass(frozen=True)
class ShardManifest:
    """The videos of one shard, in order, and the names of the spaces wanted when it was planned.

    `decode` are the options of decoding that it was planned with, as far as they are not at their defaults. Raises
    ValueError when it has no videos, or two videos that one HDF5 file cannot contain together.
    """

    shard: Integer
    videos: tuple[VideoEntry, ...]
    spaces: tuple[Text, ...]
    decode: JSONObject = field(default_factory=dict)

    def __post_init__(self) -> None:
        layout.shard_stem(self.shard)
        if not self.videos:
            raise ValueError(f"Shard {self.shard} would have no videos.")
        for space in self.spaces:
            check_space_name(space)
        if len(set(self.spaces)) != len(self.spaces):
            raise ValueError(f"Shard {self.shard} names a space twice: {self.spaces}.")
        tree = IdTree()
        for entry in self.videos:
            if entry.duplicate_of is None and not tree.add(entry.video_id):
                raise ValueError(
                    f"Shard {self.shard} cannot hold the video id {entry.video_id!r}: the shard already has this id, "
                    "or one of which it is a folder, or the reverse. Put the two into different shards."
                )


class Spellings:
    """Finds the spelling of a video id among known ones; accents in two Unicode forms (NFC, NFD) are one spelling."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = set(ids)
        self._composed = {unicodedata.normalize("NFC", each): each for each in ids if not each.isascii()}

    def of(self, video_id: str) -> str:
        """Return the known spelling of an id, or the id itself; an exact match comes first."""
        if video_id in self._ids or video_id.isascii():
            return video_id
        return self._composed.get(unicodedata.normalize("NFC", video_id), video_id)


class IdTree:
    """Video ids that one HDF5 file can contain: no id twice, and none that is a folder of another."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._folders: set[str] = set()

    def add(self, video_id: str) -> bool:
        """Add the id and return True, or return False if it conflicts with another one."""
        if video_id in self._ids or video_id in self._folders:
            return False
        parent = video_id.rpartition("/")[0]
        if not parent or parent in self._folders:
            # So are the folders above it, and none of them is an id.
            self._ids.add(video_id)
            return True
        folders = [video_id[: match.start()] for match in re.finditer("/", video_id)]
        if not self._ids.isdisjoint(folders):
            return False
        self._ids.add(video_id)
        self._folders.update(folders)
        return True


def write_manifest(root: Path, manifest: ShardManifest) -> None:
    """Publish a shard's manifest; raises StoreError when the shard has one: manifests are immutable."""
    path = layout.manifest_file(root, manifest.shard)
    body = to_json(manifest)
    # As in the manifests of all releases, unless there is something to record.
    names = ["shard", "spaces", *(["decode"] if manifest.decode else []), "videos"]
    for video in body["videos"]:
        if video["span"] is None:
            del video["span"]
    if not write_new_document(path, _KIND, {name: body[name] for name in names}):
        raise StoreError(
            f"{path} already exists, and manifests are immutable. Plan again from the store's current "
            "manifests; was this planned without holding the store's lock?"
        )


def read_manifest(path: Path) -> ShardManifest:
    """Read one manifest file; raises StoreDamagedError when it is not exactly what was written.

    Raises StoreUnreadableError where the system does not allow reading it.
    """
    manifest = read_document(path, _KIND, ShardManifest)
    if layout.parse_shard_stem(path.stem) != manifest.shard:
        refuse(path, _KIND, f"the file says that it belongs to shard {manifest.shard}")
    return manifest


def list_shards(root: Path) -> tuple[int, ...]:
    """Return the numbers of the shards with a manifest, in order.

    Raises StoreDamagedError when a number is missing, because a manifest was lost, and StoreUnreadableError.
    """
    numbers = []
    for path in list_folder(root / layout.MANIFEST):
        if is_leftover(path.name):
            continue
        number = layout.parse_shard_stem(path.stem) if path.suffix == ".json" else None
        if number is not None:
            numbers.append(number)
    numbers.sort()
    for expected, number in enumerate(numbers):
        if number != expected:
            raise StoreDamagedError(
                f"{layout.manifest_file(root, expected)} is missing although later shards exist. Restore this file "
                "from a backup: it is the only record of which videos the shard holds."
            )
    return tuple(numbers)


def latest_entries(
    manifests: Iterable[ShardManifest], forgotten: Collection[tuple[int, int]] = ()
) -> dict[str, tuple[int, int, VideoEntry]]:
    """Map each video id to the (shard, position, entry) of its latest version, duplicates excluded.

    `forgotten` are the (shard, position) of entries that count as absent.
    """
    latest: dict[str, tuple[int, int, VideoEntry]] = {}
    for manifest in manifests:
        for position, entry in enumerate(manifest.videos):
            if entry.duplicate_of is None and (manifest.shard, position) not in forgotten:
                latest[entry.video_id] = (manifest.shard, position, entry)
    return latest


def superseded_positions(
    manifests: Sequence[ShardManifest], forgotten: Collection[tuple[int, int]] = ()
) -> set[tuple[int, int]]:
    """Return the (shard, position) of every entry that a later one replaced; those `forgotten` are left out.

    An entry is replaced by a later one of the same id, a duplicate also by one of the same id, path and span.
    """
    latest = latest_entries(manifests, forgotten)
    last_of_path: dict[tuple[str, tuple[str, Span | None]], tuple[int, int]] = {}
    duplicates: list[tuple[tuple[int, int], VideoEntry]] = []
    superseded: set[tuple[int, int]] = set()
    for manifest in manifests:
        for position, entry in enumerate(manifest.videos):
            place = (manifest.shard, position)
            if place in forgotten:
                continue
            last_of_path[entry.video_id, entry.place] = place
            if entry.duplicate_of is not None:
                duplicates.append((place, entry))
            elif latest[entry.video_id][:2] != place:
                superseded.add(place)
    for place, entry in duplicates:
        holder = latest.get(entry.video_id)
        if last_of_path[entry.video_id, entry.place] != place or (holder and holder[2].place == entry.place):
            superseded.add(place)
    return superseded
