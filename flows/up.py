"""`reeldex up`: a Prefect server, the deployments and a worker on this machine, in one command."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import shlex
import signal
import socket
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from flows.config import PipelineConfig, UsageError
from flows.job_template import fixed_job_template
from flows.known_servers import announce, find_secret
from flows.leash import start_program
from flows.names import WORK_POOL
from flows.server_access import ServerAccess, prepare_access, require_access
from flows.ui_privacy import keep_to_itself

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
_START_SECONDS = 180.0  # a new database is made on the first start
_END_SECONDS = 15.0
_LOOK_SECONDS = 0.5
_MOST_RESTARTS, _RESTARTS_SECONDS = 3, 60.0  # of a worker that keeps dying

# Nothing leaves the machine, and what happens is seen soon. A user's own setting of the same name comes before these.
_SETTINGS: Mapping[str, str] = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    # Runs of many shards write many states; by default the server takes them in one at a time.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "50",
}


@dataclass(frozen=True)
class UpOptions:
    """How to come up: `port` of the server, `home` for Prefect's state, `runs` at a time.

    `no_secret`: a server that is started here lets every user of this machine in.
    """

    port: int = 4200
    home: Path | None = None
    runs: int = 4
    no_secret: bool = False


def up(config: PipelineConfig, options: UpOptions) -> None:
    """Serve until SIGINT or SIGTERM comes, or a part of it ends. Raises UsageError when it cannot begin."""
    own_home = os.environ.get("PREFECT_HOME")
    api_url = configured_api_url(os.environ, Path(own_home) if own_home else Path.home() / ".prefect")
    home = options.home or Path(own_home or default_home())
    home.mkdir(parents=True, exist_ok=True)
    for name, value in {**_SETTINGS, "PREFECT_HOME": str(home.absolute())}.items():
        os.environ.setdefault(name, value)
    if options.home is not None:
        os.environ["PREFECT_HOME"] = str(home.absolute())
    with _stop_signals() as stopping, _Parts() as parts:
        access = None
        if api_url is None:
            api_url = f"http://{_LOOPBACK}:{options.port}/api"
            access = prepare_access(api_url, no_secret=options.no_secret)
            _require_free(options.port)
            _say(f"Starting a Prefect server; its state lies in {home}")
            os.environ["PREFECT_API_URL"] = api_url
            ui_folder = Path(os.environ.setdefault("PREFECT_UI_STATIC_DIRECTORY", str(home.absolute() / "ui")))
            server = ["flows.server", "--host", _LOOPBACK, "--port", str(options.port), *access.options]
            parts.start("server", server, home / "server.log")
            parts.wait_for_health(api_url, stopping)
            announce(api_url)
            keep_to_itself(ui_folder)
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
            parts.start("worker", worker, home / "worker.log")
            _say(_welcome(api_url, home, access))
            parts.watch(stopping, worker)
        parts.end_worker()


def configured_api_url(environment: Mapping[str, str], prefect_folder: Path) -> str | None:
    """Return the server that the user's settings name: PREFECT_API_URL, or else the active profile of Prefect."""
    if environment.get("PREFECT_API_URL"):
        return environment["PREFECT_API_URL"]
    try:
        profiles = tomllib.loads((prefect_folder / "profiles.toml").read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError):
        return None
    active = environment.get("PREFECT_PROFILE") or profiles.get("active")
    url = profiles.get("profiles", {}).get(active, {}).get("PREFECT_API_URL")
    return str(url) if url else None


def default_home() -> Path:
    """Return the folder for Prefect's state unless the user names one: `~/.local/state/reeldex/prefect`."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "reeldex" / "prefect"


def job_variables() -> dict[str, object]:
    """Return how a worker on this machine starts a run: this Python, in the present folder."""
    return {"command": f"{shlex.quote(sys.executable)} -m prefect.engine", "working_dir": str(Path.cwd())}


def _prepare(config: PipelineConfig, *, own_server: bool) -> None:
    """Have the server offer the deployments, admit one shard a device, and watch over runs."""
    from flows.deployments import deployments, register
    from flows.device_limits import create_limits
    from flows.lost_runs import crash_lost_runs, watch_heartbeats
    from flows.workers import POOL

    if own_server:
        register(deployments(config, {}), fixed_job_template(job_variables()))
    else:
        register(deployments(config, job_variables()))
    watch_heartbeats()
    crash_lost_runs("Its process was gone when reeldex was started again. Retry goes on where it stopped.")
    create_limits(POOL.devices(config.compute.device))
    POOL.stop()  # its worker was only asked which devices there are


def _welcome(api_url: str, home: Path, access: ServerAccess | None) -> str:
    page = f"{api_url.removesuffix('/api')}/deployments" if access is None else access.browser_url("/deployments")
    return f"""
reeldex is up.

  Open        {page}
  Extract     click `extract`, then Run > Custom run: name a folder of videos and a store, press Submit
  Watch       click the run: its Logs and Artifacts tabs show progress, failures and pictures
  Go on       a run that failed: its menu > Retry; a store with something missing: the deployment `rerun-failed`
  Logs        {home}/server.log, {home}/worker.log
  Stop        Ctrl-C here
{_NOT_OURS if access is None else access}
"""


_NOT_OURS = """\
  Access      is that server's own: whoever may start runs there can have this worker execute any command. See
              PREFECT_SERVER_API_AUTH_STRING in Prefect's documentation."""


class _Parts:
    """The processes that `up` runs. None outlives it."""

    def __init__(self) -> None:
        self._processes: dict[str, SpawnProcess] = {}
        self._logs: dict[str, Path] = {}
        self._restarts: list[float] = []

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._processes)):
            self._end(name)

    def start(self, name: str, program: list[str], log_file: Path) -> None:
        module, *arguments = program
        self._processes[name] = start_program(module, arguments, str(log_file))
        self._logs[name] = log_file

    def wait_for_health(self, api_url: str, stopping: list[int]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not stopping and not _is_healthy(api_url):
            self._require_alive()
            if time.monotonic() > deadline:
                raise UsageError(
                    f"The Prefect server did not answer at {api_url} within {_START_SECONDS:.0f} seconds. "
                    f"See {self._logs['server']}."
                )
            time.sleep(_LOOK_SECONDS)

    def watch(self, stopping: list[int], worker: list[str]) -> None:
        while not stopping:
            if not self._processes["worker"].is_alive():
                self._restart_worker(worker)
            self._require_alive()
            time.sleep(_LOOK_SECONDS)
        _say("Stopping. Runs that go on now are shown as crashed; Retry goes on with them after the next start.")

    def _restart_worker(self, program: list[str]) -> None:
        """Start the worker again after it died; its runs that died with it are shown as crashed."""
        from flows.lost_runs import crash_lost_runs

        self._restarts = [*self._restarts[-_MOST_RESTARTS + 1 :], time.monotonic()]
        if len(self._restarts) == _MOST_RESTARTS and self._restarts[-1] - self._restarts[0] < _RESTARTS_SECONDS:
            return  # it does not stay alive: for `_require_alive` to tell
        _say(f"The worker ended by itself (exit status {self._processes['worker'].exitcode}); starting it again.")
        self._end("worker")
        crash_lost_runs("Its worker died. Retry goes on where it stopped.", waiting_too=True)
        self.start("worker", program, self._logs["worker"])

    def end_worker(self) -> None:
        """End the worker and its runs, and say so to the server while it is there."""
        if "worker" in self._processes:
            from flows.lost_runs import crash_lost_runs

            self._end("worker")
            lost = crash_lost_runs("reeldex was stopped. Retry goes on where it stopped.", waiting_too=True)
            if lost:
                _say(f"{lost} runs were broken off.")

    def _require_alive(self) -> None:
        for name, process in self._processes.items():
            if not process.is_alive():
                raise UsageError(
                    f"The Prefect {name} ended by itself, with exit status {process.exitcode}. "
                    f"The end of {self._logs[name]} says why:\n{_last_lines(self._logs[name])}"
                )

    def _end(self, name: str) -> None:
        process = self._processes.pop(name)
        if process.is_alive():
            process.terminate()
            process.join(_END_SECONDS)
        # Its group also holds what it started and did not end.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Give a list that holds the number of the signal once the user wants an end."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_healthy(api_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=5) as answer:  # noqa: S310 - the user's own server
            return bool(answer.status == http.HTTPStatus.OK)
    except (OSError, http.client.HTTPException):
        return False


def _require_answer(api_url: str) -> None:
    if not _is_healthy(api_url):
        raise UsageError(
            f"No Prefect server answers at {api_url}, which PREFECT_API_URL or your Prefect profile names. Start it, "
            "correct the address, or unset it to have a server started here."
        )


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError as error:
            raise UsageError(
                f"Port {port} on {_LOOPBACK} is not free ({error.strerror}). Choose another with --port; or, if a "
                f"Prefect server runs there already, use it: PREFECT_API_URL=http://{_LOOPBACK}:{port}/api reeldex up"
            ) from error


def _last_lines(path: Path, count: int = 15) -> str:
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
    except OSError as error:
        return f"(cannot be read: {error})"


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
