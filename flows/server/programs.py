"""The processes of `reeldex up` and `reeldex worker`, which end with it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from reeldex.flows.execution.logs import logs_as_json
from reeldex.flows.execution.process_group import Program, start_program
from reeldex.flows.server.process import require_alive, start_server, wait_for_server
from reeldex.quantities import counted
from reeldex.storage.process_id import process_of

log = logging.getLogger(__name__)

_END_SECONDS = 15.0
_LOOK_SECONDS = 0.5
_MOST_RESTARTS, _RESTARTS_SECONDS = 3, 60.0  # limit for a worker that keeps crashing
_WORKER = "reeldex.flows.server.worker_process"
# Processes of runs notice within a second that their worker has ended, and end.
_RUNS_END_SECONDS = 5.0
_NOT_REPORTED = "The Prefect server could not be told of interrupted runs; the next start tells it"


class Programs:
    """The processes that a command runs, which end with it."""

    def __init__(self) -> None:
        self._processes: dict[str, Program] = {}
        self._logs: dict[str, Path | None] = {}
        self._restarts: list[float] = []
        self._worker_arguments: list[str] = []

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._processes)):
            self._end(name)

    def start_server(
        self, port: int, log_file: Path, api_url: str, stopping: list[int], access_options: Sequence[str]
    ) -> None:
        """Start a server and wait until it answers."""
        self._processes["server"] = start_server(port, log_file, access_options)
        self._logs["server"] = log_file
        wait_for_server(self._processes["server"], api_url, log_file, lambda: stopping)

    def start_worker(self, runs: int, log_file: Path | None) -> None:
        """Start a worker for this many runs at a time; without a file for its log, that goes to standard error."""
        self._worker_arguments = ["--limit", str(runs)]
        self._logs["worker"] = log_file
        self._start_worker()

    def _start_worker(self) -> None:
        file = self._logs["worker"]
        self._processes["worker"] = start_program(_WORKER, self._worker_arguments, None if file is None else str(file))

    def watch(self, stopping: list[int]) -> None:
        """Return once the user stops the program; a worker that ends is restarted. Raises UsageError otherwise."""
        while not stopping:
            if not self._processes["worker"].is_alive():
                self._restart_worker()
            for name, process in self._processes.items():
                require_alive(name, process, self._logs[name])
            time.sleep(_LOOK_SECONDS)
        say("Stopping. Active runs are marked as crashed; Retry continues them after the next start.")

    def _restart_worker(self) -> None:
        """Restart the worker after it died; its runs are marked as crashed."""
        from reeldex.flows.runs.artifacts import server_errors_logged
        from reeldex.flows.runs.lost_runs import crash_lost_runs

        self._restarts = [*self._restarts[-_MOST_RESTARTS + 1 :], time.monotonic()]
        if len(self._restarts) == _MOST_RESTARTS and self._restarts[-1] - self._restarts[0] < _RESTARTS_SECONDS:
            return  # it crashes repeatedly: `watch` reports it
        say(f"The worker ended unexpectedly (exit status {self._processes['worker'].exitcode}); restarting it.")
        self._end("worker")
        with server_errors_logged(_NOT_REPORTED):
            crash_lost_runs("Its worker died. Retry continues where it stopped.")
        self._start_worker()

    def end_worker(self) -> None:
        """End the worker and its runs, and mark the runs as crashed while the server is running."""
        if "worker" not in self._processes:
            return
        from reeldex.flows.runs.artifacts import server_errors_logged
        from reeldex.flows.runs.lost_runs import crash_runs_of_worker, worker_name

        name = worker_name(process_of(self._processes["worker"].pid or 0))
        self._end("worker")
        message = "reeldex was stopped. Retry continues where it stopped."
        with server_errors_logged(_NOT_REPORTED):
            if lost := crash_runs_of_worker(name, message, _RUNS_END_SECONDS):
                say(f"{counted(lost, 'run')} interrupted.")

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
def stop_signals() -> Iterator[list[int]]:
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


def say(text: str) -> None:
    """Print a line for people to the terminal, which may have been closed; in a log of JSON lines, it is one."""
    if logs_as_json():
        log.info("%s", text)
        return
    with contextlib.suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
