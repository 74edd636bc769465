"""How a training under way is told to whoever watches: a progress bar, log lines, the Prefect UI."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reeldex.embedding.training.train import StepReport
    from reeldex.flows.runs.artifacts import ProgressArtifact

log = logging.getLogger(__name__)

_LOG_EVERY_SECONDS = 30.0
_UPDATE_SECONDS = 5.0

OnStep = Callable[["StepReport"], None]


class StepLog:
    """Writes a line to the log now and then, and keeps a progress artifact, if there is one, up to date."""

    def __init__(self, epochs: int, artifact: ProgressArtifact | None = None) -> None:
        self._epochs = epochs
        self._artifact = artifact
        self._first: tuple[float, int] | None = None
        self._last_line = self._last_update = time.monotonic()

    def __call__(self, report: StepReport) -> None:
        """Hear of a step."""
        now = time.monotonic()
        if self._first is None:
            self._first = (now, report.step)
        is_last = report.step == report.steps_per_epoch * self._epochs
        if now - self._last_line >= _LOG_EVERY_SECONDS:
            self._last_line = now
            log.info("%s", self._sentence(report, now))
        if self._artifact is not None and (is_last or now - self._last_update >= _UPDATE_SECONDS):
            self._last_update = now
            share = report.step / (report.steps_per_epoch * self._epochs)
            self._artifact.update(100.0 * min(1.0, share), self._sentence(report, now))

    def _sentence(self, report: StepReport, now: float) -> str:
        started, first_step = self._first or (now, report.step)
        text = (
            f"Epoch {report.epoch + 1} of {self._epochs}, step {report.step_in_epoch} of {report.steps_per_epoch}: "
            f"loss {report.loss:.4f}"
        )
        done = report.step - first_step
        return text + (f", {done / (now - started):.2f} steps per second" if done and now > started else "")


class _Bar:
    def __init__(self, epochs: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._epochs = epochs
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]} of {task.fields[epochs]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps, loss {task.fields[loss]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=Console(stderr=True),
        )
        self._task = self.bar.add_task("", total=None, epoch=1, epochs=epochs, loss="-")

    def __call__(self, report: StepReport) -> None:
        self.bar.update(
            self._task,
            total=report.steps_per_epoch * self._epochs,
            completed=report.step,
            epoch=report.epoch + 1,
            loss=f"{report.loss:.4f}",
        )


_watcher: OnStep | None = None


@contextmanager
def shown_on_terminal(epochs: int) -> Iterator[None]:
    """Show a progress bar of the training of this process while the block runs, on a terminal; the log tells elsewhere.

    Kept in this module, as Prefect hands no objects to a flow.
    """
    global _watcher  # noqa: PLW0603
    if not sys.stderr.isatty():
        yield
        return
    shown = _Bar(epochs)
    before, _watcher = _watcher, shown
    try:
        with shown.bar:
            yield
    finally:
        _watcher = before


def told(*listeners: OnStep) -> OnStep:
    """Return who passes each step on to these listeners, and to the progress bar, if there is one."""
    everyone = [*listeners, *([_watcher] if _watcher else [])]

    def on_step(report: StepReport) -> None:
        for each in everyone:
            each(report)

    return on_step
