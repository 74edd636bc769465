"""Progress of an index build."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from reeldex.flows.progress.progress import Progress, Snapshot, current_sinks
from reeldex.flows.progress.sinks import LogSink

if TYPE_CHECKING:
    from reeldex.flows.progress.work_rate import WorkRate

OnVideos = Callable[[int, int], None]
"""Callback with the number of indexed videos and the total."""


class IndexingProgress:
    """Shows the number of indexed videos in the log and on the current sinks."""

    def __init__(self) -> None:
        self._done, self._total = 0, 0
        self._progress = Progress(self._describe, LogSink(), *current_sinks())
        self._progress.rate.started(0)

    def __call__(self, done: int, total: int) -> None:
        """Record that `done` of `total` videos are indexed."""
        self._done, self._total = done, total
        self._progress.update(last=done == total)

    def _describe(self, rate: WorkRate) -> Snapshot:
        speed = f"{rate.per_second(self._done):,.1f} per second"
        sentence = f"{self._done:,} of {self._total:,} videos indexed, {speed}"
        return Snapshot(self._done, self._total, "indexing", f"videos, {speed}", sentence)
