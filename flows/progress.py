"""How work under way is told to whoever watches: a progress bar, log lines, or nobody.

Videos are worked on in worker processes, which tell the process of the flow. There, tasks run in threads and cannot
be handed objects through Prefect, so the one who listens is kept here for as long as a run lasts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from flows.sources import printable

if TYPE_CHECKING:
    from storage.schema import VideoOutcome

log = logging.getLogger(__name__)

_LOG_EVERY_SECONDS = 30.0
_WARNINGS_SHOWN = 20  # a shard; a folder of broken files must not flood the log


class Listener(Protocol):
    """Is told what happens in a run. All times are seconds of video."""

    def planned(self, shard: int, videos: int, of: int) -> None:
        """Hear that `videos` of a shard's `of` videos are to be extracted."""

    def decoded(self, seconds: float) -> None:
        """Hear that `seconds` further seconds of some video have been decoded."""

    def finished(self, shard: int, outcome: VideoOutcome) -> None:
        """Hear of a video of a shard that has its outcome."""


class LogListener:
    """Writes a line to the log now and then, and a warning for each video that fails, up to a number."""

    def __init__(self) -> None:
        self._started = self._last_line = time.monotonic()
        self._videos = self._planned = self._failed = self._warnings = 0
        self._seconds = 0.0

    def planned(self, shard: int, videos: int, of: int) -> None:  # noqa: ARG002 - counted over all shards
        """Count them."""
        self._planned += videos

    def decoded(self, seconds: float) -> None:
        """Count them; write a line if the last one is long ago."""
        self._seconds += seconds
        self._tell()

    def finished(self, shard: int, outcome: VideoOutcome) -> None:  # noqa: ARG002 - counted over all shards
        """Count it; write a line if the last one is long ago."""
        self._videos += 1
        self._failed += outcome.status == "failed"
        self._warn(outcome)
        self._tell()

    def _warn(self, outcome: VideoOutcome) -> None:
        if not outcome.message:
            return
        self._warnings += 1
        if self._warnings <= _WARNINGS_SHOWN:
            what = outcome.reason or outcome.status
            log.warning("%s: %s: %s", printable(outcome.path), what, outcome.message)
        elif self._warnings == _WARNINGS_SHOWN + 1:
            log.warning(
                "Further videos with something to say of are counted only; `reeldex status --failures` lists all."
            )

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

    def planned(self, shard: int, videos: int, of: int) -> None:  # noqa: ARG002 - counted over all shards
        """Lengthen the bar."""
        total = self._bar.tasks[0].total or 0
        self._bar.update(self._task, total=total + videos)

    def decoded(self, seconds: float) -> None:
        """Show the new speed."""
        self._seconds += seconds
        self._bar.update(self._task, speed=self._seconds / (time.monotonic() - self._started))

    def finished(self, shard: int, outcome: VideoOutcome) -> None:  # noqa: ARG002 - counted over all shards
        """Advance the bar."""
        self._failed += outcome.status == "failed"
        self._bar.update(self._task, advance=1, failed=self._failed)


class _Both:
    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def planned(self, shard: int, videos: int, of: int) -> None:
        for each in self._listeners:
            each.planned(shard, videos, of)

    def decoded(self, seconds: float) -> None:
        for each in self._listeners:
            each.decoded(seconds)

    def finished(self, shard: int, outcome: VideoOutcome) -> None:
        for each in self._listeners:
            each.finished(shard, outcome)


def both(*listeners: Listener) -> Listener:
    """Return a listener that passes on all it hears to each of these, in their order; to nobody without any."""
    return _Both(listeners)


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
    """Return who listens, or one who does nothing."""
    return _listener or both()
