"""The server takes many requests at once on SQLite, which admits one writer."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from reeldex.flows.server.secret_file import CLIENT_VARIABLE, new_secret
from tests.prefect_database import put_empty_database
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

REQUESTS = 20


class Server:
    """Prefect's server as reeldex runs it, in a process of its own."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/api"
        self.log = home / "server.log"
        command = [sys.executable, "-m", "reeldex.flows.server.application", "--host", "127.0.0.1", "--port", str(port)]
        secret = new_secret()
        self._headers = {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
        environment = {**os.environ, "PREFECT_HOME": str(home), CLIENT_VARIABLE: secret, **put_empty_database(home)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def api(self, path: str, body: Any = None) -> Any:  # noqa: ANN401 - JSON
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **self._headers}
        request = urllib.request.Request(self.url + path, data, headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 - our own server
            return json.loads(answer.read() or b"null")

    def wait(self) -> None:
        wait_until(self._answers, 120, process=self.process, details=self.log.read_text)

    def _answers(self) -> bool:
        try:
            return bool(self.api("/health"))
        except OSError:
            return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    try:
        server.wait()
        yield server
    finally:
        server.process.terminate()
        server.process.wait(30)


def test_many_submissions_at_once_are_all_taken_at_the_first_attempt(server: Server) -> None:
    flow = server.api("/flows/", {"name": "extract"})
    deployment = server.api("/deployments/", {"name": "d", "flow_id": flow["id"], "entrypoint": "x.py:extract"})

    def submit(_: int) -> str:
        # Prefect's UI does not repeat a request that was answered with 503, which urllib raises.
        path = f"/deployments/{deployment['id']}/create_flow_run"
        return str(server.api(path, {"state": {"type": "SCHEDULED"}})["id"])

    for _ in range(3):
        with ThreadPoolExecutor(REQUESTS) as pool:
            assert len(set(pool.map(submit, range(REQUESTS)))) == REQUESTS
    assert server.api("/flow_runs/count", {}) == 3 * REQUESTS
    said = server.log.read_text(encoding="utf-8")
    assert "database is locked" not in said
    assert "QueuePool" not in said


def test_states_of_one_run_set_at_once_are_all_taken(server: Server) -> None:
    flow = server.api("/flows/", {"name": "states"})
    run = server.api("/flow_runs/", {"flow_id": flow["id"], "state": {"type": "PENDING"}})

    def set_state(_: int) -> str:
        state = {"state": {"type": "RUNNING", "name": "Running"}, "force": True}
        return str(server.api(f"/flow_runs/{run['id']}/set_state", state)["status"])

    with ThreadPoolExecutor(REQUESTS) as pool:
        assert set(pool.map(set_state, range(REQUESTS))) == {"ACCEPT"}
    assert "database is locked" not in server.log.read_text(encoding="utf-8")
