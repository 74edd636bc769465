"""Attempts at a request: pauses between them, and when to give up."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from reeldex.flows.fetching.faults import FetchStoppedError, ServiceFault

log = logging.getLogger(__name__)

T = TypeVar("T")

_LONGEST_PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class Patience:
    """How often and how long a request is tried: `retries` further attempts, but not past `deadline` (monotonic).

    None follow a fault without an answer while the service `is_doubted`. `answered` is called at each sign of life.
    """

    retries: int
    delay_seconds: float
    deadline: float
    stop: threading.Event = field(default_factory=threading.Event)
    is_doubted: Callable[[], bool] = lambda: False
    answered: Callable[[], None] = lambda: None

    @property
    def seconds_left(self) -> float:
        """Seconds up to the deadline; at least a little, so that a request can be made."""
        return max(0.05, self.deadline - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() >= self.deadline

    def pause(self, fault: ServiceFault, failures: int, what: str) -> bool:
        """Wait before another attempt after so many failures in a row; return False if there should be none.

        Raises FetchStoppedError when the run ends meanwhile.
        """
        if fault.kind.is_answer:
            self.answered()
        elif self.is_doubted():
            return False
        if failures > self.retries:
            return False
        grown = min(_LONGEST_PAUSE_SECONDS, self.delay_seconds * 2 ** (failures - 1)) * random.uniform(0.7, 1.0)  # noqa: S311
        seconds = max(grown, min(fault.retry_after_seconds, 5 * _LONGEST_PAUSE_SECONDS))
        if time.monotonic() + seconds >= self.deadline:
            return False
        log.info("%s: %s. Trying again in %.1f s.", what, fault.why, seconds)
        if self.stop.wait(seconds):
            raise FetchStoppedError(what)
        return True

    def attempted(self, request: Callable[[Patience], T], what: str) -> T:
        """Return what a request returns. Raises the last ServiceFault when it keeps failing."""
        failures = 0
        while True:
            if self.stop.is_set():
                raise FetchStoppedError(what)
            try:
                return request(self)
            except ServiceFault as fault:
                failures += 1
                if not self.pause(fault, failures, what):
                    raise


def deadline_in(seconds: float) -> float:
    """Return the monotonic time in so many seconds."""
    return time.monotonic() + seconds
