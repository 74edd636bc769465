"""What `reeldex up` and `reeldex worker` do beside their worker: end lost runs of this host, delete old runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.exceptions import PrefectException

from reeldex.flows.runs.lost_runs import crash_lost_runs, crash_unfinished_tasks
from reeldex.flows.runs.progress_artifact import end_progress_of_lost_runs
from reeldex.flows.runs.surplus_runs import skip_surplus_runs
from reeldex.flows.server.retention import delete_old_runs
from reeldex.quantities import counted

log = logging.getLogger(__name__)

_LOOK_SECONDS = 15.0
_CLEAN_SECONDS = 3600.0
Failure = tuple[str, type[Exception]]
"""A part of a look that failed, or the server that all parts ask, and the error."""
Failures = frozenset[Failure]

_LOST = "Its process has died. Retry continues where it stopped."


class HostWatch:
    """Looks after the runs of this host; `retention_days`: for how long ended runs are kept, None for ever."""

    def __init__(self, retention_days: float | None) -> None:
        self._retention_days = retention_days
        self._cleaned = -_CLEAN_SECONDS

    @contextmanager
    def running(self) -> Iterator[None]:
        """Look every few seconds, in a thread, for the duration of the block."""
        over = threading.Event()
        thread = threading.Thread(target=self._watch, args=(over,), name="host_watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()

    def _watch(self, over: threading.Event) -> None:
        failures: Failures = frozenset()
        while not over.is_set():
            failures = self._look(failures)
            over.wait(_LOOK_SECONDS)

    def _look(self, before: Failures) -> Failures:
        """Do all that is to be done; return what failed, which is logged unless it failed so `before`."""
        failures: set[Failure] = set()
        for work in (
            _end_lost_runs,
            crash_unfinished_tasks,
            _skip_surplus_runs,
            end_progress_of_lost_runs,
            self._clean,
        ):
            try:
                work()
            except (httpx.HTTPError, PrefectException) as error:
                failure: Failure = ("the server", type(error))
                if failure not in before | failures:  # once per outage
                    log.warning("The Prefect server cannot be asked about lost runs; trying again: %s", error)
                failures.add(failure)
                if isinstance(error, httpx.TransportError):
                    break  # what is left would wait for the server, too
            except Exception as error:
                # Whatever it is: a watch that has ended would leave lost runs Running for ever.
                failure = (work.__name__, type(error))
                if failure not in before:
                    log.exception("A part of the watch over the runs of this host failed; trying again")
                failures.add(failure)
        return frozenset(failures)

    def _clean(self) -> None:
        days = self._retention_days
        if days is None or time.monotonic() - self._cleaned < _CLEAN_SECONDS:
            return
        self._cleaned = time.monotonic()
        if deleted := delete_old_runs(days):
            log.info("Deleted %s that ended more than %g days ago.", counted(deleted, "run"), days)


def _end_lost_runs() -> None:
    crash_lost_runs(_LOST)


def _skip_surplus_runs() -> None:
    if skipped := skip_surplus_runs():
        log.info("Skipped %s of schedules whose earlier runs still wait.", counted(skipped, "run"))
