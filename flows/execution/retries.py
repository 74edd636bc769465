"""The retry rule of all executors for infrastructure errors."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from reeldex.errors import InfrastructureError, PermanentFaultError
from reeldex.quantities import duration

log = logging.getLogger(__name__)

T = TypeVar("T")
RETRYABLE = InfrastructureError
"""The errors after which a job is retried."""


def may_be_repeated(error: object) -> bool:
    """Whether a job that failed with this error may succeed if it is retried."""
    return isinstance(error, RETRYABLE) and not isinstance(error, PermanentFaultError)


@dataclass(frozen=True)
class RetryRule:
    """How often a job is retried after an InfrastructureError that may pass, and the delay before the first retry."""

    retries: int
    first_delay_seconds: float

    def wait_before(self, attempt: int, pause: Callable[[float], None]) -> None:
        """Wait before an attempt, counted from 1: not before the first; the delay doubles with each retry."""
        if attempt > 1:
            delay_seconds = self.first_delay_seconds * 2 ** (attempt - 2)
            log.info("Attempt %d starts in %s", attempt, duration(delay_seconds))
            pause(delay_seconds)

    def call(self, work: Callable[[], T], pause: Callable[[float], None]) -> T:
        """Return the result of `work`, retried by this rule. Raises its last error; `pause` sleeps for seconds."""
        attempt = 1
        while True:
            self.wait_before(attempt, pause)
            try:
                return work()
            except RETRYABLE as error:
                if not may_be_repeated(error) or attempt > self.retries:
                    raise
                log.warning("%s", error)
            attempt += 1
