"""How work under way is told to whoever watches: a progress bar, log lines, or nobody.

Videos are worked on in worker processes, which tell the process of the flow. There, tasks run in threads and cannot
be handed objects through Prefect, so the one who listens is kept here for as long as a run lasts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from reeldex.flows.extraction.sources import printable

if TYPE_CHECKING:
    from reeldex.storage.schema import VideoOutcome

log = logging.getLogger(__name__)

_LOG_EVERY_SECONDS = 30.0
_WARNINGS_SHOWN = 20  # a shard; a folder of broken files must not flood the log


class Listener(Protocol):
    """Is told what happens in a run. All times are seconds of video.

    `started` and `stopped` do nothing in classes that inherit from this one and do not define them.
    """

    def started(self, shard: int) -> None:  # noqa: ARG002 - for those who define it
        """Record that a shard has its device and is worked on now."""
        return

    def stopped(self, shard: int) -> None:  # noqa: ARG002
        """Record that a shard is no longer worked on, whatever came of it."""
        return

    def planned(self, shard: int, videos: int, of: int) -> None:
        """Hear that `videos` of a shard's `of` videos are to be extracted."""

    def decoded(self, seconds: float) -> None:
        """Hear that `seconds` further seconds of some video have been decoded."""

    def finished(self, shard: int, outcome: VideoOutcome) -> None:
        """Hear of a video of a shard that has its outcome."""


class WorkRate:
    """How fast a run works, over the time in which it works: waiting for a device counts for nothing.

    Its methods may be called from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shards: set[int] = set()
        self._began = self._worked_seconds = 0.0

    def started(self, shard: int) -> None:
        """Count the time from now on."""
        with self._lock:
            if not self._shards:
                self._began = time.monotonic()
            self._shards.add(shard)

    def stopped(self, shard: int) -> None:
        """Count the time up to now, unless other shards are worked on."""
        with self._lock:
            if shard not in self._shards:
                return
            self._shards.remove(shard)
            if not self._shards:
                self._worked_seconds += time.monotonic() - self._began

    @property
    def worked_seconds(self) -> float:
        """Seconds during which at least one shard was worked on."""
        with self._lock:
            return self._worked_seconds + (time.monotonic() - self._began if self._shards else 0.0)

    def per_second(self, amount: float) -> float:
        """Return `amount` per second of work; 0 before any work."""
        seconds = self.worked_seconds
        return amount / seconds if seconds else 0.0

    def seconds_left(self, done: int, left: int) -> float | None:
        """Return how long `left` videos will take if `done` took all the time so far; None before the first one."""
        return self.worked_seconds / done * left if done else None


class LogListener(Listener):
    """Writes a line to the log now and then, and a warning for each video that fails, up to a number.

    It belongs to a worker process, which has its device already: all its time is working time.
    """

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
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._rate = WorkRate()
        self._seconds = 0.0
        self._planned = self._finished = self._failed = 0
        self._bar = Progress(
            TextColumn("videos"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]:.1f} s of video/s"),
            TextColumn("{task.fields[failed]} failed"),
            TextColumn("{task.fields[left]}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=0, speed=0.0, failed=0, left="")

    def __enter__(self) -> BarListener:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def started(self, shard: int) -> None:
        """Count the working time."""
        self._rate.started(shard)

    def stopped(self, shard: int) -> None:
        """Count no more working time."""
        self._rate.stopped(shard)

    def planned(self, shard: int, videos: int, of: int) -> None:  # noqa: ARG002 - counted over all shards
        """Lengthen the bar."""
        self._planned += videos
        self._draw()

    def decoded(self, seconds: float) -> None:
        """Show the new speed."""
        self._seconds += seconds
        self._draw()

    def finished(self, shard: int, outcome: VideoOutcome) -> None:  # noqa: ARG002 - counted over all shards
        """Advance the bar."""
        self._finished += 1
        self._failed += outcome.status == "failed"
        self._draw()

    def _draw(self) -> None:
        left = self._rate.seconds_left(self._finished, self._planned - self._finished)
        self._bar.update(
            self._task,
            total=self._planned,
            completed=self._finished,
            speed=self._rate.per_second(self._seconds),
            failed=self._failed,
            left=f"about {duration(left)} left" if left else "",
        )


def duration(seconds: float) -> str:
    """Return a time for people: `45 s`, `12 min`, `1 h 34 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class _Both:
    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def started(self, shard: int) -> None:
        for each in self._listeners:
            each.started(shard)

    def stopped(self, shard: int) -> None:
        for each in self._listeners:
            each.stopped(shard)

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
