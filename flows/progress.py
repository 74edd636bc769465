"""How work under way is told to whoever watches: a progress bar, log lines, or nobody.

Tasks run in threads of the process that started the flow and cannot be handed objects through Prefect, so
the one who listens is kept here for as long as a run lasts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from storage.schema import VideoOutcome

log = logging.getLogger(__name__)

_LOG_EVERY_SECONDS = 30.0


class Listener(Protocol):
    """Is told what happens in a run. All times are seconds of video."""

    def planned(self, videos: int) -> None:
        """Hear that `videos` further videos are to be extracted."""

    def decoded(self, seconds: float) -> None:
        """Hear that `seconds` further seconds of some video have been decoded."""

    def finished(self, outcome: VideoOutcome) -> None:
        """Hear of a video that has its outcome."""


class LogListener:
    """Writes a line to the log now and then: the listener where there is no terminal."""

    def __init__(self) -> None:
        self._started = self._last_line = time.monotonic()
        self._videos = self._planned = self._failed = 0
        self._seconds = 0.0

    def planned(self, videos: int) -> None:
        """Count them."""
        self._planned += videos

    def decoded(self, seconds: float) -> None:
        """Count them; write a line if the last one is long ago."""
        self._seconds += seconds
        self._tell()

    def finished(self, outcome: VideoOutcome) -> None:
        """Count it; write a line if the last one is long ago."""
        self._videos += 1
        self._failed += outcome.status == "failed"
        self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._last_line < _LOG_EVERY_SECONDS:
            return
        self._last_line = now
        speed = self._seconds / (now - self._started)
        log.info(
            "%d of %d videos done, %d failed, %.1f seconds of video per second",
            self._videos,
            self._planned,
            self._failed,
            speed,
        )


class BarListener:
    """Draws a progress bar on standard error, where a terminal is."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._started = time.monotonic()
        self._seconds = 0.0
        self._failed = 0
        self._bar = Progress(
            TextColumn("videos"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]:.1f} s of video/s"),
            TextColumn("{task.fields[failed]} failed"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=0, speed=0.0, failed=0)

    def __enter__(self) -> BarListener:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def planned(self, videos: int) -> None:
        """Lengthen the bar."""
        total = self._bar.tasks[0].total or 0
        self._bar.update(self._task, total=total + videos)

    def decoded(self, seconds: float) -> None:
        """Show the new speed."""
        self._seconds += seconds
        self._bar.update(self._task, speed=self._seconds / (time.monotonic() - self._started))

    def finished(self, outcome: VideoOutcome) -> None:
        """Advance the bar."""
        self._failed += outcome.status == "failed"
        self._bar.update(self._task, advance=1, failed=self._failed)


# Set when the user wants the run to end: tasks look at it, since a signal reaches the main thread alone.
stop_requested = threading.Event()


class RunStoppedError(Exception):
    """The user stopped the run. What was staged stays for the next one."""


_listener: Listener | None = None


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let `listener` be told of everything that happens in this process while the block runs."""
    global _listener  # noqa: PLW0603 - see the module's docstring
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


def listener() -> Listener:
    """Return who listens; a new LogListener if nobody does."""
    return _listener or LogListener()
