"""`reeldex up`: a Prefect server, the deployments and a worker on this machine, in one command."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from reeldex.errors import UsageError
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.execution.process_group import Program, start_program
from reeldex.flows.runs.names import WORK_POOL
from reeldex.flows.server.access import ServerAccess, prepare_access, require_access
from reeldex.flows.server.csp import block_external_requests
from reeldex.flows.server.job_template import fixed_job_template
from reeldex.flows.server.known_servers import announce, find_secret
from reeldex.flows.server.process import (
    LOOPBACK,
    configured_api_url,
    is_healthy,
    require_alive,
    start_server,
    wait_for_server,
)
from reeldex.quantities import counted
from reeldex.user_folders import make_writable, state_folder

log = logging.getLogger(__name__)

_END_SECONDS = 15.0
_LOOK_SECONDS = 0.5
_PAGE = "/v2/deployments"  # of the new UI: without /v2, Prefect opens the old one
_MOST_RESTARTS, _RESTARTS_SECONDS = 3, 60.0  # limit for a worker that keeps crashing

# No external requests, and short polling intervals. A user's own setting of the same name takes precedence.
_SETTINGS: Mapping[str, str] = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "true",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    # Runs of many shards write many states; by default the server stores them one at a time.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "50",
}


@dataclass(frozen=True)
class UpOptions:
    """Options of `reeldex up`: `port` of the server, `home` for Prefect's state, `runs` at a time.

    `no_secret`: a server that is started here is open to every user of this machine.
    """

    port: int = 4200
    home: Path | None = None
    runs: int = 4
    no_secret: bool = False


def up(config: PipelineConfig, options: UpOptions) -> None:
    """Serve until SIGINT or SIGTERM, or until one of its processes ends. Raises UsageError when it cannot start."""
    api_url = configured_api_url(os.environ)
    home = options.home or Path(os.environ.get("PREFECT_HOME") or default_home())
    make_writable(home, "--home or XDG_STATE_HOME")
    for name, value in {**_SETTINGS, "PREFECT_HOME": str(home.absolute())}.items():
        os.environ.setdefault(name, value)
    if options.home is not None:
        os.environ["PREFECT_HOME"] = str(home.absolute())
    with _stop_signals() as stopping, _Parts() as parts:
        access = None
        if api_url is None:
            api_url = f"http://{LOOPBACK}:{options.port}/api"
            access = prepare_access(api_url, no_secret=options.no_secret)
            _require_free(options.port)
            _say(f"Starting a Prefect server; its state is stored in {home}")
            os.environ["PREFECT_API_URL"] = api_url
            ui_folder = Path(os.environ.setdefault("PREFECT_UI_STATIC_DIRECTORY", str(home.absolute() / "ui")))
            parts.start_server(options.port, home / "server.log", api_url, stopping, access.options)
            announce(api_url)
            block_external_requests(ui_folder)
        else:
            os.environ["PREFECT_API_URL"] = api_url
            _require_answer(api_url)
            find_secret(api_url)
            require_access(api_url)
        if not stopping:
            _prepare(config, own_server=access is not None)
            worker = [
                "prefect",
                "worker",
                "start",
                "--type",
                "process",
                "--pool",
                WORK_POOL,
                "--name",
                socket.gethostname(),
            ]
            worker += ["--limit", str(options.runs)]
            parts.start_worker(worker, home / "worker.log")
            _say(_welcome(api_url, home, access))
            parts.watch(stopping, worker)
        parts.end_worker()


def default_home() -> Path:
    """Return the folder for Prefect's state unless the user names one: `~/.local/state/reeldex/prefect`."""
    return state_folder() / "prefect"


def job_variables() -> dict[str, object]:
    """Return how a worker on this machine starts a run: with this Python, in the current folder."""
    return {
        "command": f"{shlex.quote(sys.executable)} -m reeldex.flows.server.flow_process",
        "working_dir": str(Path.cwd()),
    }


def _prepare(config: PipelineConfig, *, own_server: bool) -> None:
    """Register the deployments and the monitoring of heartbeats."""
    from reeldex.flows.runs.lost_runs import crash_lost_runs, watch_heartbeats
    from reeldex.flows.server.deployments import deployments, register

    if own_server:
        register(deployments(config, {}), fixed_job_template(job_variables()))
    else:
        register(deployments(config, job_variables()))
    watch_heartbeats()
    crash_lost_runs(
        "Its process had died when reeldex was restarted. Retry continues where it stopped.", waiting_too=True
    )


def _welcome(api_url: str, home: Path, access: ServerAccess | None) -> str:
    page = f"{api_url.removesuffix('/api')}{_PAGE}" if access is None else access.browser_url(_PAGE)
    return f"""
reeldex is up.

  Open        {page}
  Extract     click `extract`, then Run > Custom run: name a folder of videos and a store, press Submit
  Watch       click the run: its Logs and Artifacts tabs show progress, failures and pictures
  Retry       a failed run: its menu > Retry; an incomplete store: the deployment `rerun-failed`
  Logs        {home}/server.log, {home}/worker.log
  Stop        Ctrl-C here
{_NOT_OURS if access is None else access}
"""


_NOT_OURS = """\
  Access      is controlled by that server: anyone who can start runs there can execute any command here. See
              PREFECT_SERVER_API_AUTH_STRING in Prefect's documentation."""


class _Parts:
    """The processes that `up` runs, which end with it."""

    def __init__(self) -> None:
        self._processes: dict[str, Program] = {}
        self._logs: dict[str, Path] = {}
        self._restarts: list[float] = []

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._processes)):
            self._end(name)

    def start_server(
        self, port: int, log: Path, api_url: str, stopping: list[int], access_options: Sequence[str]
    ) -> None:
        self._processes["server"] = start_server(port, log, access_options)
        self._logs["server"] = log
        wait_for_server(self._processes["server"], api_url, log, lambda: stopping)

    def start_worker(self, program: list[str], log: Path) -> None:
        module, *arguments = program
        self._processes["worker"] = start_program(module, arguments, str(log))
        self._logs["worker"] = log

    def watch(self, stopping: list[int], worker: list[str]) -> None:
        while not stopping:
            if not self._processes["worker"].is_alive():
                self._restart_worker(worker)
            self._require_alive()
            time.sleep(_LOOK_SECONDS)
        _say("Stopping. Active runs are marked as crashed; Retry continues them after the next start.")

    def _restart_worker(self, program: list[str]) -> None:
        """Restart the worker after it died; its runs are marked as crashed."""
        from reeldex.flows.runs.lost_runs import crash_lost_runs

        self._restarts = [*self._restarts[-_MOST_RESTARTS + 1 :], time.monotonic()]
        if len(self._restarts) == _MOST_RESTARTS and self._restarts[-1] - self._restarts[0] < _RESTARTS_SECONDS:
            return  # it crashes repeatedly: `_require_alive` reports it
        _say(f"The worker ended unexpectedly (exit status {self._processes['worker'].exitcode}); restarting it.")
        self._end("worker")
        crash_lost_runs("Its worker died. Retry continues where it stopped.", waiting_too=True)
        self.start_worker(program, self._logs["worker"])

    def end_worker(self) -> None:
        """End the worker and its runs, and mark the runs as crashed while the server is running."""
        if "worker" in self._processes:
            from reeldex.flows.runs.lost_runs import crash_lost_runs

            self._end("worker")
            lost = crash_lost_runs("reeldex was stopped. Retry continues where it stopped.", waiting_too=True)
            if lost:
                _say(f"{counted(lost, 'run')} interrupted.")

    def _require_alive(self) -> None:
        for name, process in self._processes.items():
            require_alive(name, process, self._logs[name])

    def _end(self, name: str) -> None:
        process = self._processes.pop(name)
        if process.is_alive():
            process.terminate()
            process.join(_END_SECONDS)
        # The group also contains child processes that it did not end.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Return a list that contains the signal's number once the user stops the program."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    # SIGHUP is sent when the terminal is closed; under nohup it is ignored.
    closing = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, *closing)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_answer(api_url: str) -> None:
    if not is_healthy(api_url):
        raise UsageError(
            f"No Prefect server answers at {api_url}, which PREFECT_API_URL or your Prefect profile names. Start it, "
            "correct the address, or unset it to have a server started here."
        )


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise UsageError(
                f"Port {port} on {LOOPBACK} is not free ({error.strerror}). Choose another with --port; or, if a "
                f"Prefect server runs there already, use it: PREFECT_API_URL=http://{LOOPBACK}:{port}/api reeldex up"
            ) from error


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may have been closed
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
