"""Where commands show progress: a bar on a terminal, lines in the log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from reeldex.flows.execution.logs import logs_as_json
from reeldex.flows.progress.progress import Snapshot, shown_on

log = logging.getLogger(__name__)


class LogSink:
    """Writes a line to the log every 30 seconds."""

    every_seconds = 30.0
    shows_last = False

    def show(self, snapshot: Snapshot) -> None:
        """Write the snapshot's sentence."""
        log.info("%s", snapshot.sentence)


class BarSink:
    """Draws a progress bar on standard error. A context manager: the bar exists while the block runs."""

    every_seconds = 0.1
    shows_last = True

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.fields[label]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=None, label="", detail="", visible=False)

    def __enter__(self) -> BarSink:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Draw the snapshot's numbers, label and detail."""
        self._bar.update(
            self._task,
            total=snapshot.total,
            completed=snapshot.done,
            label=snapshot.label,
            detail=snapshot.detail,
            visible=True,
        )


@contextmanager
def progress_bar() -> Iterator[None]:
    """Show the progress of work in the block as a bar on a terminal; elsewhere, or in JSON, the log shows it."""
    if sys.stderr.isatty() and not logs_as_json():
        with BarSink() as bar, shown_on(bar):
            yield
    else:
        yield
