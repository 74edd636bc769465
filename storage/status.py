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
from reeldex.storage.manifest import ShardManifest
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
    shards = _Shards()
    videos = _Videos(searches.left if searches is not None else frozenset())
    superseded = 0
    for manifest in manifests:
        outcomes, uncounted = catalog.outcomes(manifest.shard), catalog.uncounted(manifest.shard)
        shards.add(root, removed.wanted(manifest, outcomes), outcomes)
        superseded += len(uncounted)
        current = [at for at in range(len(manifest.videos)) if at not in uncounted]
        if outcomes is None:
            videos.add_pending(root, manifest, current)
        else:
            videos.add([outcomes.videos[at] for at in current])
    return StoreStatus(
        shards_total=len(manifests),
        shards_done=shards.done,
        shards_unfinished=len(manifests) - shards.done - shards.unreadable_count,
        shards_unreadable=shards.unreadable_count,
        videos_total=videos.ok + videos.failed.total() + videos.pending,
        ok=videos.ok,
        truncated=videos.truncated,
        failed_by_reason=dict(videos.failed.most_common()),
        pending=videos.pending,
        staged=videos.staged,
        seconds_of_video_ok=videos.seconds,
        rows_per_space=dict(sorted(videos.rows.items())),
        bytes_per_space=dict(sorted(shards.sizes.items())),
        superseded=superseded,
        seconds_of_work=shards.seconds_of_work,
        unreadable=tuple(shards.unreadable),
        noted=dict(sorted(videos.noted.items())),
        damaged=tuple(shards.damaged),
        left_source=dict(+videos.left),
        ffmpeg_versions=store_versions(catalog),
    )


@dataclass
class _Shards:
    """Counts of shards and their files."""

    done: int = 0
    unreadable_count: int = 0
    seconds_of_work: float = 0.0
    sizes: Counter[str] = field(default_factory=Counter)
    unreadable: list[Unreadable] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def add(self, root: Path, wanted: Sequence[str], outcomes: ShardOutcomes | None) -> None:
        """Count a shard, whose outcomes are None until it is published."""
        closed = _unreadable_files(root, outcomes)
        damaged = [outcomes.files[space].name for space in damaged_files(root, outcomes)] if outcomes else []
        complete = not damaged and _is_complete(root, wanted, outcomes, closed)
        self.damaged += damaged
        self.unreadable += closed
        self.done += complete and not closed
        self.unreadable_count += complete and bool(closed)
        if outcomes is not None:
            self.seconds_of_work += outcomes.seconds_of_work
            for space, record in outcomes.files.items():
                self.sizes[space] += record.size_bytes


@dataclass
class _Videos:
    """Counts of videos; `gone` are the ids of those that have left their source, which are counted in `left` only."""

    gone: frozenset[str]
    ok: int = 0
    truncated: int = 0
    pending: int = 0
    staged: int = 0
    seconds: float = 0.0
    left: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)

    def add_pending(self, root: Path, manifest: ShardManifest, current: Sequence[int]) -> None:
        """Count the videos at the positions `current` of a shard that is not published."""
        there = [at for at in current if manifest.videos[at].video_id not in self.gone]
        self.left["pending"] += len(current) - len(there)
        self.pending += len(there)
        self.staged += len(set(there).intersection(Staging(root, manifest.shard).positions()))

    def add(self, outcomes: Sequence[VideoOutcome]) -> None:
        """Count videos by their outcomes. Features count even of videos that have left their source."""
        for outcome in outcomes:
            self.rows.update(outcome.rows)
            if outcome.status == "ok":
                self.seconds += outcome.duration_seconds or 0.0
            if outcome.video_id in self.gone:
                self.left[outcome.status] += 1
            elif outcome.status == "ok":
                self.ok += 1
                self.truncated += outcome.truncated
                self.noted.update(outcome.notes)
            else:
                self.failed[_reason(outcome)] += 1


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
