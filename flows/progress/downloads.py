"""The progress of downloads, on the sinks of the current context or on a bar of their own."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.extractors.weights import PretrainedWeights, find_or_fetch
from reeldex.flows.progress.progress import Progress, Snapshot, current_sinks
from reeldex.flows.progress.sinks import LogSink, progress_bar

if TYPE_CHECKING:
    from reeldex.flows.progress.work_rate import WorkRate

_MEGABYTE = 1_000_000


def find_or_fetch_shown(weights: PretrainedWeights, local_path: Path | None, folder: Path | None) -> Path:
    """Return the file that `find_or_fetch` returns; show the progress of a download. Raises as it does."""
    with contextlib.ExitStack() as bar:
        return find_or_fetch(weights, local_path, folder, _Download(bar))


class _Download:
    """Shows a download; enters a bar into the stack `bar` with its first bytes, unless the context has one."""

    def __init__(self, bar: contextlib.ExitStack) -> None:
        self._bar = bar
        self._progress: Progress | None = None
        self._name, self._bytes = "", 0
        self._total: int | None = None

    def __call__(self, name: str, received: int, total: int | None) -> None:
        self._name, self._bytes, self._total = name, received, total
        if self._progress is None:
            if not current_sinks():
                self._bar.enter_context(progress_bar())
            self._progress = Progress(self._describe, LogSink(), *current_sinks())
        self._progress.update(last=received == total)

    def _describe(self, _: WorkRate) -> Snapshot:
        done = math.ceil(self._bytes / _MEGABYTE)
        total = None if self._total is None else math.ceil(self._total / _MEGABYTE)
        of = "" if total is None else f" of {total:,}"
        return Snapshot(done, total, self._name, "MB", f"{self._name}: {done:,}{of} MB downloaded")
