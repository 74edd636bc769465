"""The rate of work and the estimated time left."""

from __future__ import annotations

import threading
import time


class WorkRate:
    """The rate of a run over its working time: waiting for a device does not count.

    Its methods may be called from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: set[int] = set()
        self._began = self._worked_seconds = 0.0

    def started(self, job: int) -> None:
        """Record that a job has started."""
        with self._lock:
            if not self._jobs:
                self._began = time.monotonic()
            self._jobs.add(job)

    def stopped(self, job: int) -> None:
        """Record that a job has stopped; time counts while another job is running."""
        with self._lock:
            if job not in self._jobs:
                return
            self._jobs.remove(job)
            if not self._jobs:
                self._worked_seconds += time.monotonic() - self._began

    @property
    def worked_seconds(self) -> float:
        """Seconds during which at least one job was running."""
        with self._lock:
            return self._worked_seconds + (time.monotonic() - self._began if self._jobs else 0.0)

    def per_second(self, amount: float) -> float:
        """Return `amount` per second of work; 0 before any work."""
        seconds = self.worked_seconds
        return amount / seconds if seconds else 0.0

    def seconds_left(self, done: int, left: int) -> float | None:
        """Return the estimated seconds for `left` items after `done` items; None before the first."""
        return self.worked_seconds / done * left if done else None
