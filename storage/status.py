"""The progress of a store in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reeldex.storage.catalog import Catalog
from reeldex.storage.damage import damaged_files
from reeldex.storage.errors import StoreUnreadableError
from reeldex.storage.ffmpeg_versions import store_versions
from reeldex.storage.json_codec import to_json
from reeldex.storage.outcomes import ShardOutcomes
from reeldex.storage.removed import read_removed
from reeldex.storage.schema import JSON, VideoOutcome
from reeldex.storage.searches import read_searches
from reeldex.storage.staging import Staging
from reeldex.storage.system_errors import Unreadable, look_at, require_readable


@dataclass(frozen=True)
class StoreStatus:
    """Counts over the videos that were not superseded: `videos_total` = `ok` + failed + `pending`.

    `ok` includes `truncated`. A shard is done when it has outcomes and, for each space of its manifest, a file of the
    recorded size that no verification found damaged; `damaged` lists those that one did. `noted` counts the ok videos
    with each note. `staged` of the pending videos are extracted and wait for the rest of their shard. `unreadable`
    lists feature files that the system does not allow reading; shards with no other problem count as
    `shards_unreadable`, neither done nor unfinished. `superseded` counts the entries that later ones replaced or that
    were forgotten. `left_source` counts, by ok, failed and pending, the videos that their source no longer holds: they
    are not part of `videos_total`, but their features are kept. `seconds_of_video_ok` adds the known durations of ok
    videos; `rows_per_space` and `bytes_per_space` count rows of current videos and bytes of all files; these three
    include videos that left. `ffmpeg_versions` counts shards by the version of ffmpeg that decoded them.
    """

    shards_total: int
    shards_done: int
    shards_unfinished: int
    shards_unreadable: int
    videos_total: int
    ok: int
    truncated: int
    failed_by_reason: Mapping[str, int]
    pending: int
    staged: int
    seconds_of_video_ok: float
    rows_per_space: Mapping[str, int]
    bytes_per_space: Mapping[str, int]
    superseded: int
    seconds_of_work: float
    unreadable: tuple[Unreadable, ...]
    noted: Mapping[str, int] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    left_source: Mapping[str, int] = field(default_factory=dict)
    ffmpeg_versions: Mapping[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """The number of failed videos."""
        return sum(self.failed_by_reason.values())

    def to_json(self) -> dict[str, JSON]:
        """Return the fields and `failed` as JSON values."""
        return {**to_json(self), "failed": self.failed}


def collect_status(root: Path, catalog: Catalog) -> StoreStatus:
    """Return the counts; reads manifests, outcomes, and the sizes and first bytes of feature files.

    Raises StoreDamagedError and StoreUnreadableError for manifests, outcomes and folders.
    """
    manifests = catalog.manifests()
    removed = read_removed(root)
    searches = read_searches(root)
    gone = searches.left if searches is not None else frozenset()
    left: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    noted: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    unreadable: list[Unreadable] = []
    damaged: list[str] = []
    done = unreadable_shards = ok = truncated = pending = staged = superseded = 0
    seconds_of_video = seconds_of_work = 0.0
    for manifest in manifests:
        outcomes = catalog.outcomes(manifest.shard)
        closed = _unreadable_files(root, outcomes)
        found_damaged = [outcomes.files[space].name for space in damaged_files(root, outcomes)] if outcomes else []
        damaged += found_damaged
        complete = not found_damaged and _is_complete(root, removed.wanted(manifest, outcomes), outcomes, closed)
        done += complete and not closed
        unreadable_shards += complete and bool(closed)
        unreadable += closed
        uncounted = catalog.uncounted(manifest.shard)
        superseded += len(uncounted)
        current = [at for at in range(len(manifest.videos)) if at not in uncounted]
        if outcomes is None:
            there = [at for at in current if manifest.videos[at].video_id not in gone]
            left["pending"] += len(current) - len(there)
            current = there
            pending += len(current)
            staged += len(set(current).intersection(Staging(root, manifest.shard).positions()))
            continue
        seconds_of_work += outcomes.seconds_of_work
        for space, record in outcomes.files.items():
            sizes[space] += record.size_bytes
        for outcome in (outcomes.videos[at] for at in current):
            rows.update(outcome.rows)
            if outcome.status == "ok":
                seconds_of_video += outcome.duration_seconds or 0.0
            if outcome.video_id in gone:
                left[outcome.status] += 1
            elif outcome.status == "ok":
                ok += 1
                truncated += outcome.truncated
                noted.update(outcome.notes)
            else:
                failed[_reason(outcome)] += 1
    return StoreStatus(
        shards_total=len(manifests),
        shards_done=done,
        shards_unfinished=len(manifests) - done - unreadable_shards,
        shards_unreadable=unreadable_shards,
        videos_total=ok + failed.total() + pending,
        ok=ok,
        truncated=truncated,
        failed_by_reason=dict(failed.most_common()),
        pending=pending,
        staged=staged,
        seconds_of_video_ok=seconds_of_video,
        rows_per_space=dict(sorted(rows.items())),
        bytes_per_space=dict(sorted(sizes.items())),
        superseded=superseded,
        seconds_of_work=seconds_of_work,
        unreadable=tuple(unreadable),
        noted=dict(sorted(noted.items())),
        damaged=tuple(damaged),
        left_source=dict(+left),
        ffmpeg_versions=store_versions(catalog),
    )


def _is_complete(
    root: Path, wanted: Sequence[str], outcomes: ShardOutcomes | None, unreadable: Sequence[Unreadable]
) -> bool:
    """Return whether a shard is complete, as far as its files can be read."""
    if outcomes is None or not set(wanted) <= set(outcomes.files):
        return False
    unknown = {each.file for each in unreadable}
    records = [record for record in outcomes.files.values() if record.name not in unknown]
    found = [look_at(root / record.name) for record in records]
    return all(at is not None and at.st_size == each.size_bytes for at, each in zip(found, records, strict=True))


def _unreadable_files(root: Path, outcomes: ShardOutcomes | None) -> list[Unreadable]:
    found = []
    for record in outcomes.files.values() if outcomes else ():
        try:
            require_readable(root / record.name)
        except StoreUnreadableError as error:
            found.append(Unreadable.of(root, error))
        except FileNotFoundError:
            # Then the shard is not complete.
            continue
    return found


def _reason(outcome: VideoOutcome) -> str:
    if outcome.reason is None:
        raise ValueError(f"The failed video {outcome.video_id!r} has no reason.")
    return outcome.reason
