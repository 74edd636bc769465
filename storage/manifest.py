"""The assignment of videos to shards, which only grows: existing assignments never change."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from reeldex.storage import layout
from reeldex.storage.atomic import is_leftover
from reeldex.storage.documents import read_document, refuse, write_document
from reeldex.storage.errors import StoreDamagedError, StoreError
from reeldex.storage.json_codec import Integer, Text, to_json
from reeldex.storage.schema import Span, VideoEntry, check_space_name
from reeldex.storage.system_errors import list_folder, look_at

_KIND = "manifest"
_Verdict = Literal["new", "changed", "unchanged", "duplicate", "absent"]


@dataclass(frozen=True)
class ShardManifest:
    """The videos of one shard, in order, and the names of the spaces wanted when it was planned.

    Raises ValueError when it has no videos, or two videos that one HDF5 file cannot contain together.
    """

    shard: Integer
    videos: tuple[VideoEntry, ...]
    spaces: tuple[Text, ...]

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
        folders = [video_id[: match.start()] for match in re.finditer("/", video_id)]
        if video_id in self._ids or video_id in self._folders or not self._ids.isdisjoint(folders):
            return False
        self._ids.add(video_id)
        self._folders.update(folders)
        return True


def write_manifest(root: Path, manifest: ShardManifest) -> None:
    """Publish a shard's manifest; raises StoreError when the shard has one: manifests are immutable."""
    path = layout.manifest_file(root, manifest.shard)
    if look_at(path) is not None:
        raise StoreError(
            f"{path} already exists, and manifests are immutable. Plan again from the store's current "
            "manifests; was this planned without holding the store's lock?"
        )
    body = to_json(manifest)
    for video in body["videos"]:
        if video["span"] is None:
            del video["span"]  # as in the manifests of whole files ever since
    write_document(path, _KIND, {name: body[name] for name in ("shard", "spaces", "videos")})


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


@dataclass(frozen=True)
class Growth:
    """What a scan adds to a store.

    `new` + `changed` + `unchanged` + `duplicates` is the number of videos found. `duplicates` counts those to
    be recorded now; a duplicate recorded before is unchanged. `gone` lists the ids of the store whose files
    the scan did not find; the store keeps them.
    """

    new_shards: tuple[ShardManifest, ...]
    new: int
    changed: int
    unchanged: int
    duplicates: int
    gone: tuple[str, ...]


def plan_growth(  # noqa: PLR0913 - six facts about one scan, all but two by keyword
    manifests: Sequence[ShardManifest],
    found: Sequence[VideoEntry],
    *,
    videos_per_shard: int,
    spaces: Sequence[str],
    exists: Callable[[str], bool],
    has_features: Callable[[str], bool] | None = None,
    forgotten: Collection[tuple[int, int]] = (),
) -> Growth:
    """Assign found videos to new shards; pure, touches no file.

    A video whose id is free is new. The same path with another size or mtime is changed and supersedes the
    old entry. Another path is a move when the old file is gone and size and mtime agree; a duplicate when the
    old file is still there (`exists(path)`, or found by this scan); otherwise a change. The first of several
    videos of one id in `found` wins. A file that vanished supersedes nothing: its id is gone. Of clips, `path` above
    means the file and the span; another span of the same file is a change unless this scan also finds the old one.
    Two ids that differ only in the Unicode form of accents are one: the store's spelling stays. Entries that are
    `forgotten` count as absent.

    With `has_features(id)`, a moved video counts as unchanged only when the store has its features; otherwise it
    is planned again under its new path, because the old one can no longer be read.

    Raises ValueError when `videos_per_shard` is below 1 or a found entry is marked as a duplicate.
    """
    if videos_per_shard < 1:
        raise ValueError(f"A shard has at least one video; got videos_per_shard={videos_per_shard}.")
    holders = {video_id: entry for video_id, (_, _, entry) in latest_entries(manifests, forgotten).items()}
    stored_ids = tuple(holders)
    spellings = Spellings(stored_ids)
    recorded = {
        (entry.video_id, entry.place): entry
        for manifest in manifests
        for position, entry in enumerate(manifest.videos)
        if entry.duplicate_of is not None and (manifest.shard, position) not in forgotten
    }
    found_places = {entry.place for entry in found}
    found = [replace(entry, video_id=spellings.of(entry.video_id)) for entry in found]
    counts = dict.fromkeys(("new", "changed", "unchanged", "duplicate", "absent"), 0)
    absent: set[str] = set()
    planned: list[VideoEntry] = []
    for entry in found:
        if entry.duplicate_of is not None:
            raise ValueError(f"A scan does not mark duplicates itself; {entry.path!r} of {entry.video_id!r} is marked.")
        holder = holders.get(entry.video_id)
        holder_there = holder is not None and (
            holder.place in found_places or (holder.path != entry.path and exists(holder.path))
        )
        verdict = _judge(
            entry,
            holder,
            recorded.get((entry.video_id, entry.place)),
            holder_there=holder_there,
            moves_count=has_features is None or has_features(entry.video_id),
        )
        counts[verdict] += 1
        if verdict in {"new", "changed"}:
            holders[entry.video_id] = entry
            planned.append(entry)
        elif verdict == "duplicate" and holder is not None:
            duplicate = replace(entry, duplicate_of=holder.path)
            recorded[entry.video_id, entry.place] = duplicate
            planned.append(duplicate)
        elif verdict == "absent":
            absent.add(entry.video_id)
    found_ids = {entry.video_id for entry in found} - absent
    return Growth(
        new_shards=_pack(planned, len(manifests), videos_per_shard, tuple(spaces)),
        new=counts["new"],
        changed=counts["changed"],
        unchanged=counts["unchanged"] + counts["absent"],
        duplicates=counts["duplicate"],
        gone=tuple(video_id for video_id in stored_ids if video_id not in found_ids),
    )


def _judge(
    entry: VideoEntry,
    holder: VideoEntry | None,
    recorded: VideoEntry | None,
    *,
    holder_there: bool,
    moves_count: bool,
) -> _Verdict:
    # `holder` is the entry that holds the id now, `recorded` the one of this id and this path; a path is the file and
    # the span of a clip. First row that fits:
    #
    #   holder  path   holder's file  the found file                     verdict
    #   none    -      -              -                                  new
    #   there   same   -              same size and mtime                unchanged
    #   there   same   -              vanished, was there before         absent
    #   there   same   -              any other                          changed
    #   there   other  exists         as recorded under this path        unchanged
    #   there   other  exists         any other                          duplicate
    #   there   other  gone           vanished, was there before         absent
    #   there   other  gone           the holder's, and moves count      unchanged (moved)
    #   there   other  gone           any other                          changed
    #
    # The tests have the same rows.
    if holder is None:
        return "new"
    vanished = entry.size_bytes is None and holder.size_bytes is not None
    if holder.place == entry.place:
        if entry.same_file(holder):
            return "unchanged"
        return "absent" if vanished else "changed"
    if holder_there:
        return "unchanged" if recorded is not None and entry.same_file(recorded) else "duplicate"
    if vanished:
        return "absent"
    moved = entry.size_bytes is not None and entry.same_file(holder)
    return "unchanged" if moved and moves_count else "changed"


def _pack(
    planned: Sequence[VideoEntry], first_shard: int, videos_per_shard: int, spaces: tuple[str, ...]
) -> tuple[ShardManifest, ...]:
    """Fill shards in order; a video goes into the first one with room and without a conflicting id.

    Ids such as "a" and "a/b" cannot: in HDF5 "a" would be both a dataset and a folder. Later entries of an id
    go to later shards, because a shard that cannot take the first cannot take the next either.
    """
    shards: list[list[VideoEntry]] = []
    trees: list[IdTree] = []
    open_shards: list[int] = []
    for entry in planned:
        for shard in open_shards:
            if entry.duplicate_of is not None or trees[shard].add(entry.video_id):
                break
        else:
            shard = len(shards)
            shards.append([])
            trees.append(IdTree())
            open_shards.append(shard)
            if entry.duplicate_of is None:
                trees[shard].add(entry.video_id)
        shards[shard].append(entry)
        if len(shards[shard]) == videos_per_shard:
            open_shards.remove(shard)
    return tuple(ShardManifest(first_shard + number, tuple(videos), spaces) for number, videos in enumerate(shards))
