"""Ends a run early: at a fault that no retry heals, or when the same fault fails several jobs in a row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from reeldex.errors import InfrastructureError, PermanentFaultError, UserError
from reeldex.flows.execution.errors import RunStoppedError
from reeldex.flows.execution.jobs import Job, did_nothing

SAME_FAULTS_IN_A_ROW = 3
"""So many jobs that fail one after the other for the same reason end the run, whatever the reason."""

# What differs between two occurrences of one fault: quoted names, paths, numbers.
_PARTICULARS = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|\S*/\S*|0x[0-9a-f]+|\d+", re.IGNORECASE)


class FaultLimit:
    """Decides after each result whether the run goes on; `fault` is what ended it, `in_a_row` its occurrences.

    One for a whole run, however often its executor is called. Jobs that did nothing, since others do their work, say
    nothing about this machine and are not counted.
    """

    def __init__(self) -> None:
        self.fault: BaseException | None = None
        self.in_a_row = 0
        self._last = ""

    def record(self, result: object) -> None:
        """Record the result or the error of a job, in the order in which jobs end."""
        if did_nothing(result):
            return
        if not isinstance(result, BaseException):
            self._last, self.in_a_row = "", 0
            return
        if isinstance(result, RunStoppedError):
            return
        kind = fault_kind(result)
        self.in_a_row = self.in_a_row + 1 if kind == self._last else 1
        self._last = kind
        lasting = isinstance(result, PermanentFaultError | UserError)
        if self.fault is None and (lasting or self.in_a_row >= SAME_FAULTS_IN_A_ROW):
            self.fault = result


def fault_kind(error: BaseException) -> str:
    """Return an error without the names, paths and numbers that differ each time it occurs."""
    return f"{type(error).__name__}: {_PARTICULARS.sub('#', str(error))}"


class JobFuture(Protocol):
    """The future result of a job, as concurrent.futures and Prefect have it."""

    def add_done_callback(self, fn: Callable[[Any], None], /) -> None:
        """Call `fn` with this future once it is done."""


J = TypeVar("J", bound=Job)
F = TypeVar("F", bound=JobFuture)


def run_until_fault(  # noqa: PLR0913, PLR0917 - of two executors
    jobs: Sequence[J],
    at_once: int,
    submit: Callable[[J], F],
    result_of: Callable[[F], Any],
    stop: Callable[[], None],
    limit: FaultLimit,
) -> dict[int, Any | BaseException]:
    """Submit jobs in order, `at_once` at a time, and return each one's result or error by its number.

    Once `limit` ends the run, no further job is submitted, `stop` ends those that still run, and jobs that were
    not started are absent from the results. `result_of` returns the result or the error of a future that is done. An
    InfrastructureError of `submit` is that of its job.
    """
    waiting = iter(jobs)
    futures: dict[int, F | InfrastructureError] = {}
    results: dict[int, Any | BaseException] = {}
    done: SimpleQueue[int] = SimpleQueue()
    for _ in range(at_once):
        _submit_next(waiting, submit, futures, done)
    while len(results) < len(futures):
        number = done.get()
        future = futures[number]
        results[number] = future if isinstance(future, InfrastructureError) else result_of(future)
        ended = limit.fault is not None
        limit.record(results[number])
        if limit.fault is None:
            _submit_next(waiting, submit, futures, done)
        elif not ended and len(results) < len(futures):
            stop()
    return results


def _submit_next(
    waiting: Iterator[J],
    submit: Callable[[J], F],
    futures: dict[int, F | InfrastructureError],
    done: SimpleQueue[int],
) -> None:
    job = next(waiting, None)
    if job is None:
        return
    number = job.number
    try:
        futures[number] = future = submit(job)
    except InfrastructureError as error:
        futures[number] = error
        done.put(number)
    else:
        future.add_done_callback(lambda _: done.put(number))
