"""A lab with a `reeldex up`: its incidents, and what of them was not as it should be. For `lab_day.py`."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reeldex.storage.store import FeatureStore
from tests.system.running import FINAL, ReeldexUp
from tests.videos import run_ffmpeg

PIPELINE = """
extract: {weights: random, extractors: [resnet152], shard_videos: 2}
compute: {device: cpu, retries: 1, retry_delay_seconds: 1.0}
"""

PATIENCE_SECONDS = 900.0  # for what only has to happen at all, on a busy machine

log = logging.getLogger("lab_day")


@dataclass
class Incident:
    """A fault of the day: what found it, what was reported, what repaired it."""

    fault: str
    found: str = "NO"
    reported: str = "NO"
    repaired: str = "NO"
    seconds: float = 0.0


@dataclass
class LabDay:
    """A day with a `reeldex up`: its incidents, and what was not as it should be."""

    up: ReeldexUp
    incidents: list[Incident] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    schedule: str = ""
    interrupted: set[str] = field(default_factory=set)
    """The runs of the schedule that went on when their worker was killed."""

    def expect(self, true: object, text: str, *values: object) -> None:
        """Note that something is not as it should be, unless `true`."""
        if not true:
            self.wrong.append(text % values)
            log.error("WRONG: %s", text % values)

    @contextmanager
    def incident(self, fault: str) -> Iterator[Incident]:
        """Log an incident; one that does not go on is wrong, and the day goes on with the next."""
        this, started = Incident(fault), time.monotonic()
        self.incidents.append(this)
        log.info("--- %s", fault)
        try:
            yield this
        except (AssertionError, OSError, KeyError, IndexError, subprocess.CalledProcessError) as error:
            self.wrong.append(f"{fault}: it did not go on: {type(error).__name__}: {str(error)[:2000]}")
            log.exception("WRONG: %s", fault)
        this.seconds = time.monotonic() - started

    def launch(self, name: str, **parameters: Any) -> str:  # noqa: ANN401 - the flow's
        """Launch a deployment as the UI does; return the run's id."""
        run = self.up.launch(name, **parameters)
        self.runs.append(run)
        return run

    def ended(self, run: str, kind: str, name: str | None = None, seconds: float = PATIENCE_SECONDS) -> str:
        """Wait for the end of a run, which should be in this state; return its message."""
        state = self.up.ended(run, seconds)
        log.info("%s is %s: %s", self.up.run(run)["name"], state["name"], state["message"])
        right = state["type"] == kind and name in {None, state["name"]}
        self.expect(right, "%s is %s, not %s %s", run, state["name"], kind, name or "")
        return str(state["message"])

    def store(self, name: str) -> FeatureStore:
        """Return a store, to read it."""
        return FeatureStore(self.up.folder / name)

    def store_page(self, name: str) -> str:
        """Return the latest page on a store in the UI."""
        query = {"artifacts": {"key": {"any_": [f"reeldex-store-{name}"]}}}
        found = self.up.api("/artifacts/latest/filter", query)
        return str(found[0]["data"]) if found else ""

    def scheduled(self) -> list[Any]:
        """Return the runs of the schedule that have started or ended, the latest first."""
        ours = {
            "deployment_id": {"any_": [self.up.deployment("extract/extract")["id"]]},
            "state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING", *FINAL]}},
        }
        found = self.up.api("/flow_runs/filter", {"flow_runs": ours, "sort": "EXPECTED_START_TIME_DESC", "limit": 200})
        return [run for run in found if run["auto_scheduled"]]

    def until_scheduled(self, true: Callable[[Any], object], seconds: float = PATIENCE_SECONDS) -> Any:  # noqa: ANN401 - JSON
        """Wait for an ended run of the schedule for which `true` holds; return it."""
        return self.up.until(
            lambda: next((run for run in self.scheduled() if run["state"]["type"] in FINAL and true(run)), None),
            seconds,
        )


def film(path: Path, seconds: float = 2.0) -> Path:
    """Make a small video at its path, at once, as a camera's upload appears."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    source = f"testsrc2=size=64x64:rate=5:duration={seconds}"
    run_ffmpeg("-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", "-f", "mp4", beside)
    beside.replace(path)
    return path
