"""Schedules that meet a store in use or a folder that is gone, and messages about runs that do not end well."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from reeldex.storage.lock import hold_lock
from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo
from tests.processes import running_processes
from tests.system.running import ReeldexUp

SECRET = "hook-s3cret"  # noqa: S105 - a test
_PIPELINE = """
extract: {{weights: random, extractors: [wide2d]}}
compute: {{device: cpu}}
notify: {{webhook: "http://127.0.0.1:{port}/{secret}?key={secret}"}}
schedules:
  - {{name: absent, source: not mounted, store: s, cron: "0 2 * * *"}}
  - {{name: waiting, source: growing, store: waiting-store, interval_seconds: 3600, settle_seconds: 0, active: false}}
  - {{name: skipping, source: growing, store: waiting-store, interval_seconds: 3600, when_busy: skip, settle_seconds: 0,
     active: false}}
"""


class Hook:
    """A web server that notes the messages it gets, and answers with `status`."""

    def __init__(self) -> None:
        hook = self
        self.messages: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.status = 200

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.paths.append(self.path)
                hook.messages.append(json.loads(body))
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:  # it would print each request
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def titles(self) -> list[str]:
        """Return the titles of the messages."""
        return [str(message["title"]) for message in self.messages]


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


@pytest.fixture(scope="module")
def own(hook: Hook, tmp_path_factory: pytest.TempPathFactory, make_video: MakeVideo) -> Iterator[ReeldexUp]:
    """`reeldex up` with schedules and `notify`."""
    up = ReeldexUp(tmp_path_factory.mktemp("schedules"), _PIPELINE.format(port=hook.port, secret=SECRET))
    make_video(up.folder / "growing" / "a.mp4", seconds=0.5)
    make_video(up.folder / "mixed" / "fine.mp4", seconds=0.5)
    (up.folder / "mixed" / "broken.mp4").write_text("this is no video\n", encoding="utf-8")
    make_video(up.folder / "long" / "long.mp4", seconds=900, rate=1)
    up.reads_slowly("*long*")
    up.start()
    yield up
    assert up.process is not None
    if up.process.poll() is None:
        up.stop()


def test_a_schedule_over_a_folder_that_does_not_exist_is_reported_at_start(own: ReeldexUp) -> None:
    said = (own.folder / "up.log").read_text(encoding="utf-8")
    assert f"WARNING: The schedule 'absent': There is no file or folder '{own.folder / 'not mounted'}'." in said
    assert own.ended(own.launch("extract/absent"))["type"] == "FAILED"


def test_one_run_of_a_schedule_waits_at_most_and_takes_what_came_meanwhile(own: ReeldexUp) -> None:
    assert own.deployment("extract/waiting")["global_concurrency_limit"] is None
    device = own.folder / "state/reeldex/devices" / socket.gethostname() / "cpu"
    device.mkdir(parents=True, exist_ok=True)

    def said(run: str, text: str) -> bool:
        return any(text in line["message"] for line in own.log(run))

    # While the test holds the device, the first run holds its store.
    with hold_lock(device, 60, "device", "the test"):
        first = own.launch("extract/waiting")
        own.until(lambda: said(first, "Waiting for cpu"))
        waiting = own.launch("extract/waiting")
        own.until(lambda: said(waiting, "Waiting for at most"))
        other, skipped = own.launch("extract/waiting"), own.launch("extract/skipping")
        for run in (other, skipped):
            state = own.ended(run)
            assert (state["type"], state["name"]) == ("COMPLETED", "Skipped")
        assert "already waits to do the same" in own.run(other)["state"]["message"]
        shutil.copy(own.folder / "growing" / "a.mp4", own.folder / "growing" / "b.mp4")
    assert own.ended(first)["name"] == "Completed"
    assert own.ended(waiting)["name"] == "Completed"
    assert sorted(FeatureStore(own.folder / "waiting-store").ids()) == ["a", "b"]
    assert own.ended(own.launch("extract/waiting"))["name"] == "Nothing new"


def test_somebody_is_told_of_runs_that_do_not_end_well_and_no_log_holds_the_address(own: ReeldexUp, hook: Hook) -> None:
    hook.messages.clear()
    failed = own.launch("extract/extract", source="nowhere", store="f")
    mixed = own.launch("extract/extract", source="mixed", store="m")
    fine = own.launch("extract/extract", source="growing", store="g")
    assert own.ended(failed)["type"] == "FAILED"
    assert own.ended(mixed)["name"] == "Completed with failures"
    assert own.ended(fine)["name"] == "Completed"
    crashed = own.launch("extract/extract", source="long", store="c")
    own.until(lambda: running_processes(f"file:{own.folder / 'long'}"))
    os.kill(own.process_of(crashed), signal.SIGKILL)
    assert own.ended(crashed)["type"] == "CRASHED"

    own.until(lambda: len({title.rpartition(": ")[2] for title in hook.titles()}) == 3, seconds=60)
    assert {title.rpartition(": ")[2] for title in hook.titles()} == {"Failed", "Completed with failures", "Crashed"}
    assert not any(own.run(fine)["name"] in title for title in hook.titles())
    message = next(each for each in hook.messages if own.run(failed)["name"] in each["title"])
    assert "There is no file or folder 'nowhere'." in message["message"]
    assert f"/runs/flow-run/{failed}" in message["message"]
    assert set(hook.paths) == {f"/{SECRET}?key={SECRET}"}

    hook.messages.clear()
    hook.status = 500
    assert own.ended(own.launch("extract/extract", source="nowhere", store="f"))["type"] == "FAILED"
    own.until(lambda: hook.messages, seconds=60)
    time.sleep(3)  # time is tested: only its passing shows that the failure was logged without the address
    logs = own.said()
    assert SECRET not in logs
    blocks = own.api("/block_documents/filter", {"include_secrets": False})
    assert SECRET not in json.dumps(blocks)
    events = own.api("/events/filter", {"filter": {"event": {"prefix": ["prefect.automation"]}}})
    assert SECRET not in json.dumps(events)


def test_nobody_is_told_any_more_when_notify_is_removed(own: ReeldexUp) -> None:
    text = (own.folder / "pipeline.yaml").read_text(encoding="utf-8")
    without = "\n".join(line for line in text.splitlines() if not line.startswith("notify:"))
    (own.folder / "pipeline.yaml").write_text(without, encoding="utf-8")
    assert own.stop() == 0
    own.start()
    assert not [each for each in own.api("/automations/filter", {}) if "notify" in each["name"]]
    assert not own.api("/block_documents/filter", {})
