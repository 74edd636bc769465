"""Verification of a store, with progress."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from reeldex.errors import UsageError
from reeldex.flows.progress.progress import Progress, Snapshot, current_sinks
from reeldex.flows.progress.sinks import LogSink, progress_bar
from reeldex.quantities import counted, data_size
from reeldex.storage.errors import StoreError
from reeldex.storage.verify_sample import Sample

if TYPE_CHECKING:
    from reeldex.flows.progress.work_rate import WorkRate
    from reeldex.storage.store import FeatureStore
    from reeldex.storage.verify_report import VerifyReport


log = logging.getLogger(__name__)


class StoreUnsoundError(StoreError):
    """A store has damaged or unreadable files. `report` lists them."""

    def __init__(self, report: VerifyReport) -> None:
        found = [f"{counted(len(report.damages), 'damage')} found"] if report.damages else []
        if report.unreadable:
            found.append(f"{counted(len(report.unreadable), 'file')} cannot be read")
        super().__init__(f"{', '.join(found)}: {what_was_read(report)}.")
        self.report = report

    def __reduce__(self) -> tuple[type[StoreUnsoundError], tuple[VerifyReport]]:
        return StoreUnsoundError, (self.report,)


def what_was_read(report: VerifyReport) -> str:
    """Return how much a verification read, and what it did not check."""
    files, videos = counted(report.checked_files, "file"), counted(report.checked_videos, "video")
    unchecked = f". {report.unchecked.removesuffix('.')}" if report.unchecked else ""
    return f"{files}, {videos}, {data_size(report.checked_bytes)} read{unchecked}"


def sample_of(text: str, seed: int) -> Sample | None:
    """Return the sample of a text such as `1%` or `50`, None for an empty one: the whole store. Raises UsageError."""
    try:
        return Sample.parse(text, seed) if text.strip() else None
    except ValueError as error:
        raise UsageError(f"sample: {error}.") from error


def verify_here(
    store: FeatureStore, *, set_aside_records: bool = False, sample: str = "", seed: int = 0
) -> VerifyReport:
    """Verify a store, with progress as a bar on a terminal, else in the log."""
    with progress_bar():
        return verify_store(store, set_aside_records=set_aside_records, sample=sample, seed=seed)


def verify_store(
    store: FeatureStore, *, set_aside_records: bool = False, sample: str = "", seed: int = 0
) -> VerifyReport:
    """Verify a store and record in it what is damaged; progress goes to the log and to the current sinks.

    With `set_aside_records`, first rename damaged records beside the shards, which takes the store's lock. With a
    `sample`, read only part of the shards: see `sample_of`, whose errors are raised.
    """
    chosen = sample_of(sample, seed)
    if set_aside_records:
        with store.lock():
            for sentence in store.set_aside_records():
                log.warning("%s", sentence)
    files = _CheckedFiles()
    progress = Progress(files.snapshot, LogSink(), *current_sinks())

    def on_file(checked: int, total: int) -> None:
        files.checked, files.total = checked, total
        progress.update()

    report = store.verify(on_file, chosen)
    try:
        store.record_damage(report)
    except OSError as error:
        # Somebody who may only read a store can verify it, too.
        log.warning("What was found could not be recorded in the store, so a rerun does not know of it: %s", error)
    return report


class _CheckedFiles:
    def __init__(self) -> None:
        self.checked, self.total = 0, 0

    def snapshot(self, _rate: WorkRate) -> Snapshot:
        sentence = f"{self.checked:,} of {counted(self.total, 'file')} checked"
        return Snapshot(self.checked, self.total, "files", "", sentence)
