"""What `reeldex up` and `reeldex worker` do beside their worker: end lost runs of this host, delete old runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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
_LOST = "Its process has died. Retry continues where it stopped."


@dataclass(frozen=True)
class HostWatch:
    """Looks after the runs of this host; `retention_days`: for how long ended runs are kept, None for ever."""

    retention_days: float | None

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
        cleaned = -_CLEAN_SECONDS
        failing = False
        while not over.is_set():
            try:
                crash_lost_runs(_LOST)
                crash_unfinished_tasks()
                if skipped := skip_surplus_runs():
                    log.info("Skipped %s of schedules whose earlier runs still wait.", counted(skipped, "run"))
                end_progress_of_lost_runs()
                if self.retention_days is not None and time.monotonic() - cleaned >= _CLEAN_SECONDS:
                    cleaned = time.monotonic()
                    self._clean(self.retention_days)
                failing = False
            except (httpx.HTTPError, PrefectException) as error:
                if not failing:  # once per outage
                    log.warning("The Prefect server cannot be asked about lost runs; trying again: %s", error)
                failing = True
            over.wait(_LOOK_SECONDS)

    def _clean(self, days: float) -> None:
        if deleted := delete_old_runs(days):
            log.info("Deleted %s that ended more than %g days ago.", counted(deleted, "run"), days)
