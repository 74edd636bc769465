"""The progress of a store in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.catalog import Catalog
from reeldex.storage.damage import damaged_files
from reeldex.storage.errors import StoreUnreadableError
from reeldex.storage.json_codec import to_json
from reeldex.storage.manifest import ShardManifest
from reeldex.storage.removed import Removed, read_removed
from reeldex.storage.schema import JSON
from reeldex.storage.searches import read_searches
from reeldex.storage.shard_summary import ShardSummary, Summaries, SummarizedFile
from reeldex.storage.staging import Staging
from reeldex.storage.system_errors import Unreadable, list_folder, readable_size


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

    Manifests and outcomes of a large store whose size and time of modification are those of an earlier reading are not
    read again. Raises StoreDamagedError and StoreUnreadableError for manifests, outcomes and folders.
    """
    searches = read_searches(root)
    gone = searches.left if searches is not None else frozenset[str]()
    summaries = Summaries(catalog, gone)
    shards = _Shards(root, read_removed(root))
    videos = _Videos(gone)
    uncounted_of = catalog.uncounted_by_shard()
    for shard, entries in enumerate(catalog.index().shards):
        summary, uncounted = summaries.of(shard), uncounted_of.get(shard, frozenset[int]())
        damaged = _damaged(root, catalog, shard) if shard in shards.with_damage else []
        shards.add(shard, entries.spaces, summary, damaged)
        if summary is None:
            videos.add_pending(root, catalog.manifest(shard), uncounted)
        else:
            videos.add(summary)
    summaries.keep()
    return StoreStatus(
        shards_total=catalog.shard_count(),
        shards_done=shards.done,
        shards_unfinished=catalog.shard_count() - shards.done - shards.unreadable_count,
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
        superseded=sum(map(len, uncounted_of.values())),
        seconds_of_work=shards.seconds_of_work,
        unreadable=tuple(shards.unreadable),
        noted=dict(sorted(videos.noted.items())),
        damaged=tuple(shards.damaged),
        left_source=dict(+videos.left),
        ffmpeg_versions=dict(sorted(shards.ffmpeg.items())),
    )


def _damaged(root: Path, catalog: Catalog, shard: int) -> list[str]:
    """Return the files of a shard that a verification found damaged."""
    outcomes = catalog.outcomes(shard)
    return [outcomes.files[space].name for space in damaged_files(root, outcomes)] if outcomes is not None else []


@dataclass
class _Shards:
    """Counts of shards and their files."""

    root: Path
    removed: Removed
    done: int = 0
    unreadable_count: int = 0
    seconds_of_work: float = 0.0
    sizes: Counter[str] = field(default_factory=Counter)
    ffmpeg: Counter[str] = field(default_factory=Counter)
    unreadable: list[Unreadable] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    @cached_property
    def with_damage(self) -> frozenset[int | None]:
        """The shards with a record of damage."""
        return frozenset(layout.parse_shard_stem(path.stem) for path in list_folder(self.root / layout.DAMAGE))

    def add(self, shard: int, planned: Sequence[str], summary: ShardSummary | None, damaged: Sequence[str]) -> None:
        """Count a shard, whose summary is None until it is published."""
        if summary is None:
            return
        files = summary.files
        closed, sizes_fit = _look_at_files(self.root, files.values())
        has_all = set(self.removed.wanted(shard, planned, files)) <= set(files)
        complete = not damaged and has_all and sizes_fit
        self.damaged += damaged
        self.unreadable += closed
        self.done += complete and not closed
        self.unreadable_count += complete and bool(closed)
        self.seconds_of_work += summary.seconds_of_work
        self.sizes.update({space: file.size_bytes for space, file in files.items()})
        if summary.ffmpeg is not None:
            self.ffmpeg[summary.ffmpeg] += 1


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

    def add_pending(self, root: Path, manifest: ShardManifest, uncounted: Collection[int]) -> None:
        """Count the videos of a shard that is not published, without those at the positions `uncounted`."""
        current = [at for at in range(len(manifest.videos)) if at not in uncounted]
        there = [at for at in current if manifest.videos[at].video_id not in self.gone]
        self.left["pending"] += len(current) - len(there)
        self.pending += len(there)
        self.staged += len(set(there).intersection(Staging(root, manifest.shard).positions()))

    def add(self, summary: ShardSummary) -> None:
        """Count the videos of a published shard."""
        self.ok += summary.ok
        self.truncated += summary.truncated
        self.seconds += summary.seconds
        for counts, more in (
            (self.left, summary.left),
            (self.failed, summary.failed),
            (self.rows, summary.rows),
            (self.noted, summary.noted),
        ):
            counts.update(more)


def _look_at_files(root: Path, files: Iterable[SummarizedFile]) -> tuple[list[Unreadable], bool]:
    """Return the files of a shard that cannot be read, and whether all others have the recorded size."""
    closed, sizes_fit = [], True
    for file in files:
        try:
            sizes_fit &= readable_size(root / file.name) == file.size_bytes
        except StoreUnreadableError as error:
            closed.append(Unreadable.of(root, error))
        except FileNotFoundError:
            sizes_fit = False
    return closed, sizes_fit
