"""Removes features from a store for good: whole feature spaces, or the rows of some videos.

A kill leaves a state that the same removal, run again, finishes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.atomic import remove_file
from reeldex.storage.errors import StoreDamagedError, StoreError
from reeldex.storage.forgotten import entries_of
from reeldex.storage.outcomes import FileRecord, ShardOutcomes, read_outcomes, write_outcomes
from reeldex.storage.removed import add_removed, read_removed
from reeldex.storage.schema import FeatureRows, VideoOutcome
from reeldex.storage.shard import ShardReader
from reeldex.storage.shard_writing import write_shard
from reeldex.storage.store import FeatureStore
from reeldex.storage.system_errors import look_at

REMOVED = "Its features were removed with `reeldex rm`."


@dataclass(frozen=True)
class Removal:
    """What is removed: videos that lose features, rows, and bytes that become free."""

    videos: int
    rows: int
    size_bytes: int

    def plus(self, other: Removal) -> Removal:
        """Return the sum of both."""
        return Removal(self.videos + other.videos, self.rows + other.rows, self.size_bytes + other.size_bytes)


NOTHING = Removal(0, 0, 0)


def remove_space(store: FeatureStore, space: str, *, dry_run: bool = False) -> Removal:
    """Remove a feature space from all shards; `rerun` does not make it again, `extract` with its extractor does.

    Requires the store's lock. With `dry_run`, only return what would be removed. Raises UnknownSpaceError, and
    StoreError when a video would be left without features.
    """
    shards = {manifest.shard: store.outcomes(manifest.shard) for manifest in store.manifests()}
    unfinished = [each for each in store.manifests() if space in each.spaces and shards[each.shard] is None]
    with_file = [shard for shard in shards if look_at(layout.features_file(store.path, space, shard)) is not None]
    holding = {shard: held for shard, held in shards.items() if held is not None and space in held.files}
    if not holding and not with_file:
        store.ids(space)  # raises for a space that the store does not have
    for outcomes in holding.values():
        for video in outcomes.videos:
            if video.status == "ok" and set(video.rows) == {space}:
                raise _only_space(space, video.video_id)
    for manifest in unfinished:
        if set(read_removed(store.path).wanted(manifest.shard, manifest.spaces, ())) == {space}:
            raise _only_space(space, manifest.videos[0].video_id)
    found = Removal(
        sum(space in video.rows for held in holding.values() for video in held.videos),
        sum(video.rows.get(space, 0) for held in holding.values() for video in held.videos),
        sum(_size(layout.features_file(store.path, space, shard)) for shard in {*holding, *with_file}),
    )
    if dry_run:
        return found
    # Unfinished shards are completed without it.
    add_removed(store.path, space, {*holding, *with_file, *(each.shard for each in unfinished)})
    for shard in sorted({*holding, *with_file}):
        if (recorded := read_outcomes(store.path, shard)) is not None and space in recorded.files:
            videos = tuple(_without(video, {space}) for video in recorded.videos)
            write_outcomes(store.path, replace(recorded, videos=videos, files=_files(recorded, {space})))
        remove_file(layout.features_file(store.path, space, shard))
    store.close()
    return found


def _only_space(space: str, video_id: str) -> StoreError:
    return StoreError(
        f"{space} is the only feature space of {video_id!r}, which would be left without features. "
        "Remove such videos by their ids instead, or delete the store's folder if nothing is to be kept."
    )


def remove_videos(store: FeatureStore, names: Sequence[str], *, dry_run: bool = False) -> Removal:
    """Forget videos, named by id or path, and remove their features, those of earlier versions too.

    Requires the store's lock. With `dry_run`, only return what would be removed. Raises UnknownVideoError for a name
    that is not in the store, and then removes nothing. An already forgotten video is named by its id.
    """
    spelled = [entry.video_id if (entry := store.entry(name)) else name for name in names]
    current = entries_of(store.manifests(), store.forgotten(), spelled)
    gone = {name: [each for each in store.forgotten().entries if each.video_id == name] for name in spelled}
    if unknown := [name for name in spelled if not current[name] and not gone[name]]:
        store.forget(unknown)
    if not dry_run:
        store.forget([name for name in spelled if current[name]])
    positions: dict[int, set[int]] = {}
    for name in spelled:
        for each in (*current[name], *gone[name]):
            positions.setdefault(each.shard, set()).add(each.position)
    return remove_rows(store, positions, dry_run=dry_run)


def remove_rows(store: FeatureStore, positions: Mapping[int, Collection[int]], *, dry_run: bool = False) -> Removal:
    """Remove the features of videos, given as positions by shard, by writing their shards' files without them.

    They are to be positions that no longer count, because their outcomes become failures. Requires the store's lock.
    """
    total = NOTHING
    for shard, there in sorted(positions.items()):
        total = total.plus(_remove_staged(store, shard, there, dry_run=dry_run))
        outcomes = read_outcomes(store.path, shard)
        doomed = [at for at in there if outcomes is not None and outcomes.videos[at].rows]
        if outcomes is None or not doomed:
            continue
        rows = [sum(outcomes.videos[at].rows.values()) for at in doomed]
        before = sum(record.size_bytes for record in outcomes.files.values())
        after = before - _bytes_of(outcomes, doomed) if dry_run else _rewrite(store.path, outcomes, doomed)
        total = total.plus(Removal(len(doomed), sum(rows), before - after))
    store.close()
    return total


def _remove_staged(store: FeatureStore, shard: int, positions: Collection[int], *, dry_run: bool) -> Removal:
    """Remove videos that are extracted and wait for the rest of their shard."""
    staging, total = store.staging(shard), NOTHING
    doomed = sorted({*positions} & {*staging.positions()})
    for at in doomed:
        rows = 0
        with suppress(StoreDamagedError):
            rows = sum(staging.outcome(at).rows.values())
        size_bytes = _size(layout.staging_folder(store.path, shard) / layout.staged_name(at))
        total = total.plus(Removal(1, rows, size_bytes))
    if not dry_run:
        staging.discard(doomed)
    return total


def _rewrite(root: Path, outcomes: ShardOutcomes, doomed: Collection[int]) -> int:
    """Write a shard's files without some videos, then its outcomes; return the bytes of the files."""
    ids = {outcomes.videos[at].video_id for at in doomed}
    kept_ids = {video.video_id for at, video in enumerate(outcomes.videos) if at not in doomed and video.rows}
    if shared := ids & kept_ids:
        raise AssertionError(f"{sorted(shared)} are twice in one shard, which ShardManifest excludes")
    files = dict(outcomes.files)
    emptied = set()
    for space, record in outcomes.files.items():
        if not ids & set(record.extents):
            continue
        path = root / record.name
        if ids >= set(record.extents):
            emptied.add(space)
            continue
        with ShardReader(path) as reader:
            others, count = _others(reader, ids), len(record.extents)
            written = write_shard(path, reader.space, outcomes.shard, others, reader.provenance, video_count=count)
        files[space] = FileRecord.written(root, path, written)
    if emptied:
        for space in sorted(emptied):
            add_removed(root, space, [outcomes.shard])
            del files[space]
    videos = tuple(
        _without(video, set(video.rows)) if at in doomed else video for at, video in enumerate(outcomes.videos)
    )
    write_outcomes(root, replace(outcomes, videos=videos, files=files))
    for space in emptied:
        remove_file(layout.features_file(root, space, outcomes.shard))
    return sum(record.size_bytes for record in files.values())


def _others(reader: ShardReader, ids: Collection[str]) -> Iterator[tuple[str, FeatureRows]]:
    for video_id in reader.ids():
        if video_id not in ids:
            yield video_id, reader.read(video_id)


def _without(video: VideoOutcome, spaces: Collection[str]) -> VideoOutcome:
    """Return an outcome without its rows in these spaces; one that was ok and has none left is a failure."""
    rows = {space: count for space, count in video.rows.items() if space not in spaces}
    if rows or video.status == "failed":
        return replace(video, rows=rows)
    return VideoOutcome(video.video_id, video.path, "failed", "missing", REMOVED, attempts=video.attempts)


def _files(outcomes: ShardOutcomes, without: Collection[str]) -> dict[str, FileRecord]:
    return {space: record for space, record in outcomes.files.items() if space not in without}


def _bytes_of(outcomes: ShardOutcomes, doomed: Collection[int]) -> int:
    extents = [record.extents.get(outcomes.videos[at].video_id) for record in outcomes.files.values() for at in doomed]
    return sum(each.row_count * each.width * 2 for each in extents if each is not None)


def _size(path: Path) -> int:
    status = look_at(path)
    return 0 if status is None else status.st_size
