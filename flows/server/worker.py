"""`reeldex worker`: a worker on this machine for the Prefect server of the user's settings."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reeldex.errors import UsageError
from reeldex.flows.config.monitoring import MonitoringConfig
from reeldex.flows.runs.names import WORK_POOL
from reeldex.flows.server.deploy import use_configured_server
from reeldex.flows.server.programs import Programs, say, stop_signals
from reeldex.flows.server.settings import apply_settings, hand_on_monitoring, prepare_settings

log = logging.getLogger(__name__)

_RESTARTED = "Its process had died when reeldex was started again. Retry continues where it stopped."


def worker(runs: int, home: Path | None, retention_days: float | None, monitoring: MonitoringConfig) -> None:
    """Execute runs until SIGINT or SIGTERM, `runs` at a time. Raises UsageError when it cannot start.

    With a log in JSON, the worker's and its runs' go to standard error, as collectors of logs expect.
    """
    hand_on_monitoring(monitoring)
    folder = prepare_settings(home)
    apply_settings()
    api_url = use_configured_server()
    _require_pool(api_url)
    with stop_signals() as stopping, Programs() as programs:
        log_file = None if monitoring.log_format == "json" else folder / "worker.log"
        with working(programs, runs, log_file, retention_days):
            say(
                f"This machine executes runs of {api_url.removesuffix('/api')}, {runs} at a time, in {Path.cwd()}."
                + ("" if log_file is None else f"\nIts log is {log_file}. Press Ctrl-C to stop.")
            )
            programs.watch(stopping)
        programs.end_worker()


@contextmanager
def working(programs: Programs, runs: int, log_file: Path | None, retention_days: float | None) -> Iterator[None]:
    """Run a worker, and look after the runs of this host, for the duration of the block."""
    from reeldex.flows.runs.lost_runs import crash_lost_runs
    from reeldex.flows.server.host_watch import HostWatch

    crash_lost_runs(_RESTARTED)
    programs.start_worker(runs, log_file)
    with HostWatch(retention_days).running():
        yield


def _require_pool(api_url: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(WORK_POOL)
        except ObjectNotFound as error:
            raise UsageError(
                f"The Prefect server at {api_url} has no work pool {WORK_POOL!r}. Register the flows there first: "
                "`reeldex deploy`."
            ) from error
