"""What a scan adds to a store: which found videos are new, changed, moved or duplicates, and their new shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from reeldex.storage.manifest import IdTree, ShardManifest, Spellings, latest_entries
from reeldex.storage.schema import JSON, Span, VideoEntry

_Verdict = Literal["new", "changed", "unchanged", "duplicate", "absent"]


@dataclass(frozen=True)
class Growth:
    """What a scan adds to a store.

    `new` + `changed` + `unchanged` + `duplicates` is the number of videos found. `duplicates` counts those to
    be recorded now; a duplicate recorded before is unchanged. `gone` is the number of ids of the store whose files
    the scan did not find; the store keeps them.
    """

    new_shards: tuple[ShardManifest, ...]
    new: int
    changed: int
    unchanged: int
    duplicates: int
    gone: int


@dataclass(frozen=True)
class StoreSize:
    """The number of shards of a store, and of its videos: `FeatureStore.shard_count` and `video_count`."""

    shards: int
    videos: int


def plan_growth(  # noqa: PLR0913 - facts about one scan, all but two by keyword
    manifests: Sequence[ShardManifest],
    found: Sequence[VideoEntry],
    *,
    videos_per_shard: int,
    spaces: Sequence[str],
    exists: Callable[[str], bool],
    has_features: Callable[[str], bool] | None = None,
    forgotten: Collection[tuple[int, int]] = (),
    decode: Mapping[str, JSON] = MappingProxyType({}),
    size: StoreSize | None = None,
    settling: Collection[str] = (),
) -> Growth:
    """Assign found videos to new shards; pure, touches no file.

    A video whose id is free is new. The same path with another size or mtime is changed and supersedes the
    old entry. Another path is a move when the old file is gone and size and mtime agree; a duplicate when the
    old file is still there (`exists(path)`, or found by this scan); otherwise a change. The first of several
    videos of one id in `found` wins. A file that vanished supersedes nothing: its id is gone. Of clips, `path` above
    means the file and the span; another span of the same file is a change unless this scan also finds the old one.
    Two ids that differ only in the Unicode form of accents are one: the store's spelling stays. Entries that are
    `forgotten` count as absent. `decode` is recorded in the new shards.

    With the `size` of the store, `manifests` need only be those with an id of `found` or `settling`, as of a large
    store. `settling` are the ids of videos that are there and left to the next scan, so that they are not gone.

    With `has_features(id)`, a moved video counts as unchanged only when the store has its features; otherwise it
    is planned again under its new path, because the old one can no longer be read.

    Raises ValueError when `videos_per_shard` is below 1 or a found entry is marked as a duplicate.
    """
    if videos_per_shard < 1:
        raise ValueError(f"A shard has at least one video; got videos_per_shard={videos_per_shard}.")
    latest = {video_id: entry for video_id, (_, _, entry) in latest_entries(manifests, forgotten).items()}
    spellings = Spellings(latest)
    scan = _Scan(dict(latest), _recorded(manifests, forgotten), {entry.place for entry in found}, exists, has_features)
    found = [_spelled(entry, spellings.of(entry.video_id)) for entry in found]
    verdicts: Counter[_Verdict] = Counter()
    absent: set[str] = set()
    planned: list[VideoEntry] = []
    for entry in found:
        verdict = scan.judge(entry)
        verdicts[verdict] += 1
        planned += scan.plan(entry, verdict)
        if verdict == "absent":
            absent.add(entry.video_id)
    size = size or StoreSize(len(manifests), len(latest))
    there = ({entry.video_id for entry in found} - absent) | set(map(spellings.of, settling))
    return Growth(
        new_shards=_pack(planned, size.shards, videos_per_shard, tuple(spaces), decode),
        new=verdicts["new"],
        changed=verdicts["changed"],
        unchanged=verdicts["unchanged"] + verdicts["absent"],
        duplicates=verdicts["duplicate"],
        gone=size.videos - len(latest.keys() & there),
    )


def _spelled(entry: VideoEntry, video_id: str) -> VideoEntry:
    return entry if video_id == entry.video_id else replace(entry, video_id=video_id)


_Place = tuple[str, Span | None]


def _recorded(
    manifests: Sequence[ShardManifest], forgotten: Collection[tuple[int, int]]
) -> dict[tuple[str, _Place], VideoEntry]:
    """Return the duplicates that are recorded, by id and place."""
    return {
        (entry.video_id, entry.place): entry
        for manifest in manifests
        for position, entry in enumerate(manifest.videos)
        if entry.duplicate_of is not None and (manifest.shard, position) not in forgotten
    }


@dataclass(frozen=True)
class _Scan:
    """A scan that is gone through entry by entry: who holds each id by now, and which duplicates are recorded."""

    holders: dict[str, VideoEntry]
    recorded: dict[tuple[str, _Place], VideoEntry]
    found_places: Collection[_Place]
    exists: Callable[[str], bool]
    has_features: Callable[[str], bool] | None

    def judge(self, entry: VideoEntry) -> _Verdict:
        """Return what a found video is. Raises ValueError for one that is marked as a duplicate."""
        if entry.duplicate_of is not None:
            raise ValueError(f"A scan does not mark duplicates itself; {entry.path!r} of {entry.video_id!r} is marked.")
        holder = self.holders.get(entry.video_id)
        holder_there = holder is not None and (
            holder.place in self.found_places or (holder.path != entry.path and self.exists(holder.path))
        )
        return _judge(
            entry,
            holder,
            self.recorded.get((entry.video_id, entry.place)),
            holder_there=holder_there,
            moves_count=self.has_features is None or self.has_features(entry.video_id),
        )

    def plan(self, entry: VideoEntry, verdict: _Verdict) -> list[VideoEntry]:
        """Return the entry to add to the store, if any, and note it for later entries of its id."""
        if verdict in {"new", "changed"}:
            self.holders[entry.video_id] = entry
            return [entry]
        if verdict != "duplicate":
            return []
        duplicate = replace(entry, duplicate_of=self.holders[entry.video_id].path)
        self.recorded[entry.video_id, entry.place] = duplicate
        return [duplicate]


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
    planned: Sequence[VideoEntry],
    first_shard: int,
    videos_per_shard: int,
    spaces: tuple[str, ...],
    decode: Mapping[str, JSON],
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
    return tuple(
        ShardManifest(first_shard + number, tuple(videos), spaces, dict(decode)) for number, videos in enumerate(shards)
    )
