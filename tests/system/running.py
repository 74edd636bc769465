"""`reeldex up` as a person starts it, in a process of its own, with what tests ask of its server."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.prefect_database import put_empty_database
from tests.processes import LivingProcess, process_status, process_tree
from tests.slow_reading import path_with_slow_ffmpeg
from tests.waiting import wait_until

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
# Seconds from one look, or one sending, of Prefect to the next: tests wait for several.
_SHORT_INTERVALS = {
    "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.2",
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
}
# Poll intervals. Most polls are requests, which take the server's time from what is waited for; the end of a run takes
# longest.
_POLL_SECONDS, _END_POLL_SECONDS = 0.2, 0.5
_STARTED_WORK = re.compile(r"^Shard (\d{5}): (\d+) of (\d+) videos to extract$")


class ReeldexUp:
    """A running `reeldex up`; `folder` is where it was started and where its runs work."""

    def __init__(self, folder: Path, pipeline: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pipeline.yaml").write_text(pipeline, encoding="utf-8")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "HOME": str(folder / "home"),  # a user without any settings of their own
            "XDG_STATE_HOME": str(folder / "state"),
            **_SHORT_INTERVALS,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.makes_database = False

    def reads_slowly(self, pattern: str) -> None:
        """Have its runs read the videos whose paths fit the pattern as slowly as they play."""
        self.environment["PATH"] = path_with_slow_ffmpeg(self.folder, pattern)

    @property
    def secret(self) -> str:
        """What its server asks for, as its clients send it."""
        return (self.folder / "state" / "reeldex" / "server-secret").read_text(encoding="ascii").strip()

    @property
    def page_url(self) -> str:
        """The address for a browser that it printed."""
        printed = re.search(r"^  Open +(\S+)$", (self.folder / "up.log").read_text(encoding="utf-8"), re.MULTILINE)
        assert printed, self.said()
        return printed[1]

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request of its owner."""
        return {"Authorization": f"Basic {base64.b64encode(self.secret.encode()).decode()}"}

    def start(self, *options: str) -> None:
        """Start it, with further options, and wait until it says that it is up.

        Its first database is a ready one, unless it `makes_database`.
        """
        if not self.makes_database:
            self.environment |= put_empty_database(self.folder / "state/reeldex/prefect")
        log = self.folder / "up.log"
        command = [sys.executable, "-m", "reeldex", "up", "--port", str(self.port), *options]
        with log.open("wb") as file:
            # Its own session: a signal to it is not one to the tests.
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=file, stderr=file, start_new_session=True
            )
        self.until(lambda: b"reeldex is up." in log.read_bytes(), seconds=240)

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it as Ctrl-C does, and return its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def tree(self) -> list[LivingProcess]:
        """Return it and all processes below it, also those that lead groups or sessions of their own."""
        assert self.process is not None
        return process_tree(self.process.pid)

    def until(self, true: Callable[[], Any], seconds: float = 180, every: float = _POLL_SECONDS) -> Any:  # noqa: ANN401 - what `true` returns
        """Wait until `true()` is, polling every `every` seconds, and return what it returned."""
        return wait_until(true, seconds, every=every, process=self.process, details=self.said)

    def said(self) -> str:
        """Return all that it and its parts have logged, for a failed test."""
        logs = [self.folder / "up.log", *self.folder.glob("state/reeldex/prefect/*.log")]
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-6000:]}" for log in logs if log.is_file())

    def api(self, path: str, body: Any = None, method: str | None = None) -> Any:  # noqa: ANN401 - JSON
        """Ask the server: GET without a body, else POST."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.url}/api{path}",
            data=data,
            headers={"Content-Type": "application/json", **self.headers},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            return json.loads(answer.read() or b"null")

    def deployment(self, name: str) -> Any:  # noqa: ANN401 - JSON
        """Return a deployment by `flow/name`."""
        flow, _, own = name.partition("/")
        return self.api(f"/deployments/name/{urllib.parse.quote(flow)}/{urllib.parse.quote(own)}")

    def launch(self, name: str, **parameters: Any) -> str:  # noqa: ANN401 - the flow's
        """Launch a deployment as the UI does; return the run's id."""
        deployment = self.deployment(name)
        body = {"parameters": {**deployment["parameters"], **parameters}, "state": {"type": "SCHEDULED"}}
        run = self.api(f"/deployments/{deployment['id']}/create_flow_run", body)
        return str(run["id"])

    def run(self, run_id: str) -> Any:  # noqa: ANN401 - JSON
        """Return a flow run."""
        return self.api(f"/flow_runs/{run_id}")

    def awaits_retry(self, run_id: str) -> None:
        """Do what the UI's Retry does."""
        self.api(f"/flow_runs/{run_id}/set_state", {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}})

    def ended(self, run_id: str, seconds: float = 240) -> Any:  # noqa: ANN401 - JSON
        """Wait for a run's end; return its state."""
        self.until(lambda: self.run(run_id)["state"]["type"] in FINAL, seconds, every=_END_POLL_SECONDS)
        return self.run(run_id)["state"]

    def retry(self, run_id: str, seconds: float = 240) -> Any:  # noqa: ANN401 - JSON
        """Press Retry and wait for the end."""
        before = self.run(run_id)["state_id"]
        self.awaits_retry(run_id)
        self.until(lambda: self.run(run_id)["state_id"] != before, seconds)
        return self.ended(run_id, seconds)

    def set_silence(self, seconds: float) -> None:
        """Let each step of the server's automations for silent hosts take so long."""
        for automation in self.api("/automations/filter", {}):
            if automation["name"].startswith("reeldex: a run whose host"):
                body = {name: automation[name] for name in ("name", "description", "enabled", "trigger", "actions")}
                body["trigger"]["within"] = seconds
                self.api(f"/automations/{automation['id']}", body, method="PUT")

    def cancel(self, run_id: str) -> None:
        """Do what the UI's Cancel does."""
        self.api(f"/flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})

    def log(self, run_id: str) -> list[dict[str, Any]]:
        """Return the lines of a run's log, in order; of a run that has ended, once it has sent them all."""
        run = self.run(run_id)
        if run["state"]["type"] in FINAL and (process := run["labels"].get("reeldex.process")):
            # Its process sends what is left of the log after it has set the last state, and then ends.
            number, _, start = process.partition("@")
            self.until(lambda: (status := process_status(int(number))) is None or status[1] != int(start), seconds=30)
        query = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        lines: list[dict[str, Any]] = []
        while page := self.api("/logs/filter", {**query, "offset": len(lines)}):
            lines += page
        return lines

    def worked_on(self, run_id: str) -> list[tuple[int, int]]:
        """Return (shard, videos to extract) of every piece of work that a run began, in order, over all attempts."""
        found = [_STARTED_WORK.match(line["message"]) for line in self.log(run_id)]
        return [(int(match[1]), int(match[2])) for match in found if match]

    def artifacts(self, run_id: str) -> dict[str, Any]:
        """Return a run's artifacts by the first words of their captions; the latest of each."""
        query = {"artifacts": {"flow_run_id": {"any_": [run_id]}}, "sort": "CREATED_DESC"}
        newest: dict[str, Any] = {}
        for artifact in self.api("/artifacts/filter", query):
            newest.setdefault(artifact["description"].partition(":")[0], artifact)
        return newest

    def table(self, run_id: str, caption: str) -> list[dict[str, str]]:
        """Return the rows of the first table of an artifact by their columns, as its page shows them."""
        lines = [line for line in self.artifacts(run_id)[caption]["data"].splitlines() if line.startswith("| ")]
        columns, _, *rows = [
            [re.sub(r"\\(.)", r"\1", cell.replace("\u200b", "")) for cell in re.split(r"(?<!\\) \| ", line[2:-2])]
            for line in lines
        ]
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def process_of(self, run_id: str) -> int:
        """Return the id of the process that does a run."""
        label = self.until(lambda: self.run(run_id)["labels"].get("reeldex.process"))
        return int(label.partition("@")[0])

    def stand_in_the_way(self, store: str, shard: int) -> Path:
        """Make a store in which this shard's features cannot be published, until what is returned is removed."""
        from reeldex.storage.store import FeatureStore

        shutil.rmtree(self.folder / store, ignore_errors=True)
        FeatureStore(self.folder / store, create=True)
        folder = self.folder / store / "features" / "wide2d.random" / f"shard-{shard:05d}.h5"
        folder.mkdir(parents=True)
        return folder
