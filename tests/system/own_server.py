"""A Prefect server as its own documentation starts it, with `reeldex deploy` and `reeldex worker`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tests.postgresql import is_installed, running_postgresql
from tests.prefect_database import fill_postgresql, put_empty_database
from tests.system.running import ReeldexUp
from tests.waiting import wait_until

_BUSY_TRIES = 20


class OwnServer(ReeldexUp):
    """A running `prefect server start`; `process` is that of `reeldex worker` in the same folder.

    On PostgreSQL where that is installed, as docs/deployment.md advises: with SQLite, such a server was seen to stand
    still for one or two minutes, until an attempt to write timed out.
    """

    def __init__(self, folder: Path, pipeline: str) -> None:
        super().__init__(folder, pipeline)
        with ExitStack() as database:
            if is_installed():
                self.environment |= fill_postgresql(database.enter_context(running_postgresql()))
            else:
                self.environment |= put_empty_database(folder / "home" / ".prefect")
            self._database = database.pop_all()
        self.environment["PREFECT_API_URL"] = f"{self.url}/api"
        self.server: subprocess.Popen[bytes] | None = None
        self.first: subprocess.Popen[bytes] | None = None  # the worker, if others are started beside it

    @property
    def headers(self) -> dict[str, str]:
        """No secret: the server is open."""
        return {}

    def api(self, path: str, body: Any = None, method: str | None = None) -> Any:  # noqa: ANN401 - JSON
        """Ask the server, again while its SQLite database is busy, as Prefect's clients do."""
        for _ in range(_BUSY_TRIES):
            try:
                return super().api(path, body, method)
            except urllib.error.HTTPError as error:
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
                time.sleep(1)  # time is tested: of the server, which writes one transaction at a time
        return super().api(path, body, method)

    def start_server(self) -> None:
        """Start the server and wait until it answers."""
        program = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "server.log").open("ab") as file:
            self.server = subprocess.Popen(
                program, cwd=self.folder, env=self.environment, stdout=file, stderr=file, start_new_session=True
            )
        self.process = self.server
        self.until(self.answers, seconds=180)

    def answers(self) -> bool:
        """Whether the server answers."""
        try:
            return bool(self.api("/health"))
        except (urllib.error.URLError, OSError):
            return False

    def deploy(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run `reeldex deploy`."""
        return self.reeldex("deploy", *options)

    def kill_server(self) -> None:
        """End the server as a power cut does."""
        assert self.server is not None
        os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()

    def has_run(self, run_id: str) -> bool:
        """Whether the server has a run."""
        return bool(self.api("/flow_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}}))

    def until_without_worker(self, true: Callable[[], object], seconds: float) -> None:
        """Wait until `true()` is, while no worker runs."""
        wait_until(true, seconds, details=self.said)

    def popen(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command."""
        with (self.folder / "command.log").open("wb") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "reeldex", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def reeldex(self, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "reeldex", *arguments],
            cwd=self.folder,
            env=environment or self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *options: str) -> None:
        """Start `reeldex worker`, with further options, and wait until it executes runs."""
        self.first = self.start_worker("worker", *options)

    def start_worker(
        self, name: str, *options: str, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a `reeldex worker` that logs to `name`.log; return it once it executes runs.

        `environment` are further variables of it.
        """
        log = self.folder / f"{name}.log"
        command = [sys.executable, "-m", "reeldex", "worker", "--home", str(self.folder / name), *options]
        variables = {**self.environment, **(environment or {})}
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, cwd=self.folder, env=variables, stdout=file, stderr=file, start_new_session=True
            )
        self.process = process
        self.until(lambda: b"This machine executes runs" in log.read_bytes(), seconds=120)
        return process

    def end(self) -> None:
        """End the worker, if it still runs, and the server."""
        for process in (self.first, self.server):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(60)
        self._database.close()

    def task_runs(self, run_id: str) -> list[dict[str, Any]]:
        """Return the task runs of a run."""
        found: list[dict[str, Any]] = self.api("/task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        return found

    def said(self) -> str:
        """Return all that it and its parts have logged, for a failed test."""
        logs = [*self.folder.glob("*.log"), *self.folder.glob("*/*.log")]
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-6000:]}" for log in logs if log.is_file())
