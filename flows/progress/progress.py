"""Progress of work: one class that throttles what it shows, for any number of sinks (a bar, the log, an artifact)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from reeldex.flows.progress.work_rate import WorkRate


@dataclass(frozen=True)
class Snapshot:
    """The progress of work at one moment.

    - `done` of `total` items are done; None while the total is not known.
    - `label` and `detail` are shown before and after a bar, such as `videos` and `2 failed, about 3 min left`.
    - `sentence` is the whole progress as text, for the log.
    """

    done: int
    total: int | None
    label: str
    detail: str
    sentence: str

    @property
    def percent(self) -> float:
        """The completed share, from 0 to 100."""
        return 100.0 * min(1.0, self.done / self.total) if self.total else 0.0


class Sink(Protocol):
    """Where progress is shown, at most once per `every_seconds`; the last snapshot is always shown if `shows_last`."""

    every_seconds: float
    shows_last: bool

    def show(self, snapshot: Snapshot) -> None:
        """Show a snapshot. Calls never overlap."""


class Progress:
    """Shows the progress of one piece of work on sinks, each at its own interval.

    `describe` is called only when a sink is due, with the rate of the work. Methods may be called from several threads.
    """

    def __init__(self, describe: Callable[[WorkRate], Snapshot], *sinks: Sink) -> None:
        self.rate = WorkRate()
        self._describe = describe
        self._lock = threading.RLock()
        now = time.monotonic()
        self._shown = [(sink, now) for sink in sinks]

    def update(self, *, last: bool = False) -> None:
        """Show the current state on every sink that is due; with `last`, on every one that shows the last state."""
        with self._lock:
            now = time.monotonic()
            due = {
                number
                for number, (sink, shown) in enumerate(self._shown)
                if now - shown >= sink.every_seconds or (last and sink.shows_last)
            }
            if not due:
                return
            snapshot = self._describe(self.rate)
            self._shown = [(sink, now if number in due else shown) for number, (sink, shown) in enumerate(self._shown)]
            for number in sorted(due):
                self._shown[number][0].show(snapshot)


# A context variable: Prefect runs flows and tasks in copies of the context, and sinks cannot be their parameters.
_sinks: ContextVar[tuple[Sink, ...]] = ContextVar("sinks", default=())


def current_sinks() -> tuple[Sink, ...]:
    """Return the sinks of the enclosing `shown_on` blocks."""
    return _sinks.get()


@contextmanager
def shown_on(*sinks: Sink) -> Iterator[None]:
    """Add sinks for the progress of work in the block."""
    token = _sinks.set((*_sinks.get(), *sinks))
    try:
        yield
    finally:
        _sinks.reset(token)
