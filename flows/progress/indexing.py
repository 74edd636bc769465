"""How the build of an index is told to whoever watches: a progress bar, log lines, the Prefect UI."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reeldex.flows.runs.artifacts import ProgressArtifact

log = logging.getLogger(__name__)

_LOG_EVERY_SECONDS = 30.0
_UPDATE_SECONDS = 5.0

OnVideos = Callable[[int, int], None]
"""Is told of videos done, and of how many there are to do."""


class _Log:
    """Writes a line to the log now and then, and keeps a progress artifact, if there is one, up to date."""

    def __init__(self, artifact: ProgressArtifact | None = None) -> None:
        self._artifact = artifact
        self._started = self._last_line = self._last_update = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        speed = done / max(now - self._started, 1e-9)
        text = f"{done:,} of {total:,} videos indexed, {speed:,.1f} per second"
        if now - self._last_line >= _LOG_EVERY_SECONDS:
            self._last_line = now
            log.info("%s", text)
        if self._artifact is not None and (done == total or now - self._last_update >= _UPDATE_SECONDS):
            self._last_update = now
            self._artifact.update(100.0 * done / max(total, 1), text)


@contextmanager
def indexing_shown(artifact: ProgressArtifact | None) -> Iterator[OnVideos]:
    """Return the block whom to tell of videos: a bar on a terminal, else the log; and the artifact, if there is one."""
    told = _Log(artifact)
    if not sys.stderr.isatty():
        yield told
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("indexing"), BarColumn(), MofNCompleteColumn(), TextColumn("videos"))
    with Progress(*columns, TimeRemainingColumn(elapsed_when_finished=True), console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)

        def both(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            told(done, total)

        yield both
