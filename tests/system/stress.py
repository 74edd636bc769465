"""Twenty runs submitted at once, and `reeldex up` stopped and killed ten times during their shards.

    python -m tests.system.stress

Prints what became of every run. Exit status 0: every submission was taken in time, no state was untrue at any time,
no process outlived its `reeldex up` by more than 5 seconds, and all runs completed with all their features.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reeldex.storage.store import FeatureStore
from tests.processes import running_processes
from tests.system.running import ReeldexUp
from tests.videos import cached_video
from tests.waiting import wait_until

PIPELINE = """
extract: {weights: random, extractors: [resnet152], shard_videos: 1}
compute: {device: cpu, retries: 1, retry_delay_seconds: 1.0}
"""
VIDEOS, SECONDS_OF_VIDEO = 3, 6
SUBMISSION_SECONDS, PAGE_SECONDS, LEFTOVER_SECONDS = 15.0, 5.0, 5.0
ACTIVE = ("RUNNING", "CANCELLING")
# Prefect may report a crash twice, seconds apart; the second report would undo a retry between them.
SETTLING_SECONDS = 8.0

log = logging.getLogger("stress")


class Stress:
    """A `reeldex up` with many runs, and what was found to be wrong with it."""

    def __init__(self, up: ReeldexUp, runs_at_a_time: int) -> None:
        self.up = up
        self.runs: list[str] = []
        self.attempts: dict[str, int] = {}
        self.faults: list[str] = []
        self._options = ("--runs", str(runs_at_a_time))

    def start(self) -> None:
        started = time.monotonic()
        self.up.start(*self._options)
        log.info("up after %.1f s", time.monotonic() - started)

    def fault(self, text: str, *values: object) -> None:
        self.faults.append(text % values)
        log.error(text, *values)

    def submit(self, count: int) -> None:
        """Submit `count` runs at the same time, each with a store of its own."""
        deployment = self.up.deployment("extract/extract")

        def one(number: int) -> str:
            parameters = {**deployment["parameters"], "source": "videos", "store": f"stores/{number:02d}"}
            body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
            return str(self.up.api(f"/deployments/{deployment['id']}/create_flow_run", body)["id"])

        started = time.monotonic()
        numbers = range(len(self.runs), len(self.runs) + count)
        with ThreadPoolExecutor(count) as pool:
            submitted = [pool.submit(one, number) for number in numbers]
        seconds = time.monotonic() - started
        for each in submitted:
            error = each.exception()
            if error is not None:
                self.fault("A submission was not taken: %s", error)
            else:
                self.runs.append(each.result())
                self.attempts[each.result()] = 1
        log.info("%d runs submitted at once, %d taken, in %.1f s", count, len(self.runs), seconds)
        if seconds > SUBMISSION_SECONDS:
            self.fault("%d submissions took %.1f s, over %.0f s", count, seconds, SUBMISSION_SECONDS)

    @contextmanager
    def pages_watched(self) -> Iterator[None]:
        """Time what the UI asks for to show its pages while the block runs."""
        slowest, done = [0.0], threading.Event()

        def look() -> None:
            while not done.is_set():
                for ask in (self._page, self._runs_list, self._counts):
                    started = time.monotonic()
                    ask()
                    slowest[0] = max(slowest[0], time.monotonic() - started)
                done.wait(0.2)

        with ThreadPoolExecutor(1) as pool:
            watching = pool.submit(look)
            try:
                yield
            finally:
                done.set()
        watching.result()
        log.info("slowest page: %.2f s", slowest[0])
        if slowest[0] > PAGE_SECONDS:
            self.fault("A page took %.1f s, over %.0f s", slowest[0], PAGE_SECONDS)

    def _page(self) -> None:
        request = urllib.request.Request(f"{self.up.url}/", headers=self.up.headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            answer.read()

    def _runs_list(self) -> None:
        self.up.api("/flow_runs/paginate", {"limit": 50, "sort": "START_TIME_DESC"})

    def _counts(self) -> None:
        self.up.api("/flow_runs/count", {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}})

    def states(self) -> dict[str, Any]:
        """Return every run's state and labels, by its id."""
        found = self.up.api("/flow_runs/filter", {"flow_runs": {"id": {"any_": self.runs}}, "limit": 200})
        return {run["id"]: run for run in found}

    def check_states(self) -> None:
        """Note every run whose state is untrue now: Running without a process, or ended with a living one."""
        suspects = set(self._untrue())
        if suspects:
            time.sleep(SETTLING_SECONDS)  # time is tested: a state may be untrue no longer than this
            for run_id in suspects & set(self._untrue()):
                run = self.up.run(run_id)
                self.fault("%s is %s, process %s", run["name"], run["state"]["name"], run["labels"])

    def _untrue(self) -> Iterator[str]:
        for run_id, run in self.states().items():
            process = str(run["labels"].get("reeldex.process", ""))
            alive = bool(process) and Path(f"/proc/{process.partition('@')[0]}").exists()
            if run["state"]["type"] in ACTIVE and not alive:
                yield run_id
            if run["state"]["type"] in ("CRASHED", "CANCELLED", "FAILED") and alive:
                yield run_id

    def retry_crashed(self) -> int:
        """Press Retry on every crashed run; return how many were not completed before."""
        open_runs = 0
        for run_id, run in self.states().items():
            open_runs += run["state"]["type"] != "COMPLETED"
            if run["state"]["type"] == "CRASHED":
                self.attempts[run_id] += 1
                self.up.awaits_retry(run_id)
            elif run["state"]["type"] in ("FAILED", "CANCELLED"):
                self.fault("%s ended as %s: %s", run["name"], run["state"]["name"], run["state"]["message"])
                self.attempts[run_id] += 1
                self.up.awaits_retry(run_id)
        return open_runs

    def decoders(self) -> list[int]:
        return running_processes(f"file:{self.up.folder / 'videos'}")

    def end(self, number: signal.Signals) -> None:
        """Stop or kill `reeldex up` in the middle of a shard, and note what outlives it."""
        self.up.until(self.decoders, seconds=180)
        processes = self.up.tree()
        started = time.monotonic()
        self.up.stop(number)
        log.info("%s: ended after %.1f s, with %d processes", number.name, time.monotonic() - started, len(processes))
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not any(each.alive() for each in processes), LEFTOVER_SECONDS)
        for each in [each for each in processes if each.alive()]:
            self.fault("%s outlived reeldex up by %.0f s", each, LEFTOVER_SECONDS)

    def finish(self, seconds: float) -> None:
        """Wait until all runs have completed, retrying what crashed."""
        deadline = time.monotonic() + seconds
        while (left := self.retry_crashed()) and time.monotonic() < deadline:
            time.sleep(5)  # time is tested: an interval between retries, as a person would leave
        if left:
            self.fault("%d runs had not completed after %.0f s", left, seconds)
        for number in range(len(self.runs)):
            status = FeatureStore(self.up.folder / "stores" / f"{number:02d}").status()
            if status.ok != VIDEOS or status.shards_unfinished:
                self.fault("The store of run %02d has %d of %d videos", number, status.ok, VIDEOS)

    def report(self) -> str:
        """Return what became of every run."""
        lines = [f"{'store':10} {'attempts':>8}  state"]
        for run_id, run in sorted(self.states().items(), key=lambda each: str(each[1]["parameters"]["store"])):
            store, state = run["parameters"]["store"], run["state"]
            lines.append(f"{store:10} {self.attempts[run_id]:8}  {state['name']}: {state['message']}")
        said = (self.up.folder / "state" / "reeldex" / "prefect" / "server.log").read_text(errors="replace")
        counts = {text: said.count(text) for text in ("database is locked", "QueuePool limit")}
        return "\n".join([*lines, *(f"server log, {text!r}: {count}" for text, count in counts.items())])


def main() -> int:
    """Run in a folder of its own; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="runs submitted at once (default: 20)")
    parser.add_argument("--running", type=int, default=8, metavar="N", help="runs at work before (default: 8)")
    parser.add_argument("--stops", type=int, default=10, metavar="N", help="stops and kills (default: 10)")
    parser.add_argument("--seconds", type=float, default=1800.0, metavar="S", help="wait for the end (default: 1800)")
    arguments = parser.parse_args()
    # A shell that starts this in the background has it ignore Ctrl-C, and all it starts would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    with tempfile.TemporaryDirectory(prefix="reeldex-stress-") as folder:
        stress = Stress(ReeldexUp(Path(folder), PIPELINE), arguments.running)
        _make_videos(Path(folder) / "videos")
        try:
            _run(stress, arguments)
            report = stress.report()
        except AssertionError as error:
            stress.fault("It did not go on: %s", error)
            report = ""
        finally:
            if stress.up.process is not None and stress.up.process.poll() is None:
                stress.up.stop()
    sys.stdout.write(f"\n{report}\n\n{len(stress.faults)} faults\n" + "".join(f"  {each}\n" for each in stress.faults))
    return 1 if stress.faults else 0


def _run(stress: Stress, arguments: argparse.Namespace) -> None:
    stress.start()
    stress.submit(arguments.running)
    stress.up.until(
        lambda: [run["state"]["type"] for run in stress.states().values()].count("RUNNING") >= len(stress.runs) - 1
    )
    with stress.pages_watched():
        stress.submit(arguments.runs)
    for stop in range(arguments.stops):
        stress.end(signal.SIGKILL if stop % 2 else signal.SIGINT)
        stress.start()
        stress.check_states()
        log.info("%d runs are not completed", stress.retry_crashed())
    stress.finish(arguments.seconds)
    stress.check_states()


def _make_videos(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(VIDEOS):
        source = f"testsrc2=size=320x240:rate=25:duration={SECONDS_OF_VIDEO}"
        cached_video(folder / f"{number}.mp4", "-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p")


if __name__ == "__main__":
    sys.exit(main())
