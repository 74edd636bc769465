"""Progress of a training."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from reeldex.flows.progress.progress import Progress, Snapshot, current_sinks
from reeldex.flows.progress.sinks import LogSink

if TYPE_CHECKING:
    from reeldex.embedding.training.train import StepReport
    from reeldex.flows.progress.work_rate import WorkRate

OnStep = Callable[["StepReport"], None]


class TrainingProgress:
    """Shows the steps of a training of `epochs` epochs in the log and on the current sinks."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._latest: StepReport | None = None
        self._started, self._first_step = 0.0, 0
        self._progress = Progress(self._describe, LogSink(), *current_sinks())

    def __call__(self, report: StepReport) -> None:
        """Record a step."""
        if self._latest is None:
            self._started, self._first_step = time.monotonic(), report.step
        self._latest = report
        self._progress.update(last=report.step == report.steps_per_epoch * self._epochs)

    def _describe(self, _: WorkRate) -> Snapshot:
        report = self._latest
        assert report is not None  # noqa: S101 - nothing is shown before the first step
        label = f"epoch {report.epoch + 1} of {self._epochs}"
        loss = f"loss {report.loss:.4f}"
        done, seconds = report.step - self._first_step, time.monotonic() - self._started
        speed = f", {done / seconds:.2f} steps per second" if done and seconds > 0 else ""
        return Snapshot(
            report.step,
            report.steps_per_epoch * self._epochs,
            label,
            f"steps, {loss}{speed}",
            f"{label.capitalize()}, step {report.step_in_epoch} of {report.steps_per_epoch}: {loss}{speed}",
        )
