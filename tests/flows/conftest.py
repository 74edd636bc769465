"""A Prefect server of a file's own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from tests.prefect_database import put_empty_database
from tests.waiting import wait_until

# Services for schedules, automations, work pools, concurrency leases, and runs that are late, paused or cancelled: no
# test with this server has any. They take more than a second at its start, and time while it waits.
_UNUSED = ("SCHEDULER", "LATE_RUNS", "FOREMAN", "CANCELLATION_CLEANUP", "PAUSE_EXPIRATIONS", "TRIGGERS", "REPOSSESSOR")


@pytest.fixture(scope="module")
def _running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PREFECT_HOME": str(folder / "prefect"),
        **put_empty_database(folder / "prefect"),
        **{f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _UNUSED},
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/api"
    try:
        log_text = (folder / "server.log").read_text
        wait_until(lambda: _answers(f"{url}/health"), 120, process=process, details=log_text)
        yield {**environment, "PREFECT_API_URL": url}
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def server(_running_server: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A Prefect server on loopback without flow runs; returns the environment that names it."""
    url = _running_server["PREFECT_API_URL"]
    for run in flow_runs(url):
        _request(f"{url}/flow_runs/{run['id']}", method="DELETE")
    return {**_running_server, "PREFECT_HOME": str(tmp_path / "prefect")}


@pytest.fixture(scope="module")
def flow_runs_on_server(_running_server: dict[str, str]) -> Iterator[None]:
    """Have the server of the file record the flows that this process, its threads and its child processes run.

    Like Prefect's own `prefect_test_harness`, but with a prepared database, and without importing Prefect's server.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("PREFECT_API_URL", _running_server["PREFECT_API_URL"])
            refresh_global_settings_context()
            yield
            # What is sent later would meet a server that has ended.
            APILogWorker.drain_all(timeout=30)
            EventsWorker.drain_all(timeout=30)
    finally:
        refresh_global_settings_context()


def flow_runs(api_url: str) -> list[dict[str, Any]]:
    """Return all flow runs that a server knows."""
    found: list[dict[str, Any]] = json.loads(_request(f"{api_url}/flow_runs/filter", data=b"{}"))
    return found


def _request(url: str, data: bytes | None = None, method: str | None = None) -> bytes:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310 - our own server
    answers: list[bytes] = []

    def answered() -> bool:
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
                answers.append(response.read())
        except urllib.error.HTTPError as error:
            # Its SQLite database is busy.
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
        return bool(answers)

    wait_until(answered, 60)
    return answers[0]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server
            return True
    except (urllib.error.URLError, OSError):
        return False
