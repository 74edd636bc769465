"""What a verification finds: damage, and what could not be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reeldex.quantities import counted
from reeldex.remote_faults import remote_error
from reeldex.storage.damage import DamagedFile
from reeldex.storage.errors import StoreUnreadableError
from reeldex.storage.system_errors import Unreadable, reading
from reeldex.storage.verify_sample import Sample

_MOST_OUTAGES = 3


@dataclass(frozen=True)
class Damage:
    """One finding: the file below the store, the video if known, what is wrong, and what to do."""

    file: str
    video_id: str | None
    what: str
    remedy: str


@dataclass(frozen=True)
class VerifyReport:
    """The result of a verification; `checked_bytes` counts the bytes of all files read.

    `unreadable` lists what the system did not allow reading: not checked, and not known to be damaged. Feature files
    whose content is not the recorded one are in `damaged_files` by shard and feature space, those that were read
    without a finding in `intact_files`: `FeatureStore.record_damage` records both. Of `total_shards`, `checked_shards`
    were read: all, or those of a `sample` (its size and seed), which says nothing about the others. `unfinished` are
    the feature files whose outcomes a run has still to publish: not compared with any, so neither damaged nor intact.
    """

    checked_files: int
    checked_videos: int
    checked_bytes: int
    damages: tuple[Damage, ...]
    unreadable: tuple[Unreadable, ...] = ()
    damaged_files: Mapping[int, Mapping[str, DamagedFile]] = field(default_factory=dict)
    intact_files: frozenset[tuple[int, str]] = frozenset()
    checked_shards: int = 0
    total_shards: int = 0
    sample: str | None = None
    unfinished: tuple[str, ...] = ()

    @property
    def unchecked(self) -> str:
        """What was not checked, in sentences; empty if everything was."""
        said = []
        if left := self.total_shards - self.checked_shards:
            read = f"{self.checked_shards:,} of {counted(self.total_shards, 'shard')} ({self.sample})"
            said.append(f"Sample: {read} read; the other {left:,} {'was' if left == 1 else 'were'} NOT checked.")
        if self.unfinished:
            were = "was" if len(self.unfinished) == 1 else "were"
            said.append(
                f"{counted(len(self.unfinished), 'feature file')}, such as {self.unfinished[0]}, {were} NOT checked: a "
                "run has still to publish the outcomes. Verify again after the run, or after `reeldex rerun`."
            )
        return " ".join(said)

    @property
    def sound(self) -> bool:
        """Whether every file that was to be read was read, and none is damaged."""
        return not self.damages and not self.unreadable


@dataclass
class Findings:
    """What a verification has found so far. `known` are the files that were read, `total` their number at the end.

    `outages` counts failures of the object store since it last served a file of that kind, by the ending of the names:
    it may have documents from a request of before.
    """

    root: Path
    progress: Callable[[int, int], None] | None
    total: int = 0
    files: int = 0
    videos: int = 0
    bytes: int = 0
    damages: list[Damage] = field(default_factory=list)
    unreadable: dict[Path, Unreadable] = field(default_factory=dict)
    known: set[Path] = field(default_factory=set)
    damaged: dict[int, dict[str, DamagedFile]] = field(default_factory=dict)
    intact: set[tuple[int, str]] = field(default_factory=set)
    unfinished: list[str] = field(default_factory=list)
    checked_shards: int = 0
    total_shards: int = 0
    outages: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Record what the system does not allow reading in this block, and continue.

        When an object store has failed for several files of one kind and served none since, the others would fail too,
        each after many attempts: then the error is raised.
        """
        try:
            yield
        except StoreUnreadableError as error:
            self.unreadable.setdefault(error.path, Unreadable.of(self.root, error))
            cause = remote_error(error)
            if cause is not None and cause.fault.transient and not changed_meanwhile(error):
                self.outages[_kind(error.path)] += 1
                if self.outages[_kind(error.path)] >= _MOST_OUTAGES:
                    raise

    def served(self, path: Path) -> None:
        """Record that a file was read, damaged or not, or a folder listed."""
        self.outages[_kind(path)] = 0

    def read_file(self, path: Path) -> None:
        """Count a file that is read, once; raises FileNotFoundError and StoreUnreadableError."""
        if path in self.known:
            return
        self.known.add(path)
        self.files += 1
        with reading(path):
            self.bytes += path.stat().st_size
        if self.progress:
            self.progress(self.files, self.total)

    def damage(self, path: Path, what: str, remedy: str, video_id: str | None = None) -> None:
        """Record damage of a file, or of a video in it."""
        # Of a store at a URL, videos are staged on this machine.
        file = path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        self.damages.append(Damage(file, video_id, what, remedy))

    def without_outcomes(self, path: Path) -> None:
        """Record a feature file whose outcomes a run has still to publish."""
        self.unfinished.append(path.relative_to(self.root).as_posix())

    def report(self, sample: Sample | None) -> VerifyReport:
        """Return what was found; `sample` is what was to be read of the shards, None for all."""
        return VerifyReport(
            self.files,
            self.videos,
            self.bytes,
            tuple(self.damages),
            tuple(self.unreadable.values()),
            self.damaged,
            frozenset(self.intact),
            self.checked_shards,
            self.total_shards,
            str(sample) if sample is not None else None,
            tuple(self.unfinished),
        )


def changed_meanwhile(error: StoreUnreadableError) -> bool:
    """Whether a file could not be read because it was replaced or removed in the object store meanwhile."""
    cause = remote_error(error)
    return cause is not None and cause.fault.kind in {"replaced", "removed"}


def _kind(path: Path) -> str:
    """Return what a path is, by the ending of its name: a feature file, a document, or else a folder."""
    return path.suffix if path.suffix in {".h5", ".json"} else ""
