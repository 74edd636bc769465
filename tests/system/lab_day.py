"""A lab's day on a real `reeldex up`, through its API: faults are made, found, reported and repaired.

    python -m tests.system.lab_day [PART ...]

A folder grows on a schedule, a video is broken, processes are killed, a disk is full, a shard is damaged. Nothing is
repaired by hand in a store: only flows and Retry are used. Prints what was seen. Exit status 0: all went as it should.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from tests.processes import parent, running_processes
from tests.small_disk import SmallDisk
from tests.system.lab import PATIENCE_SECONDS, PIPELINE, LabDay, film
from tests.system.running import FINAL, ReeldexUp

INTERVAL_SECONDS, SETTLE_SECONDS = 30.0, 2.0
CRASH_SECONDS = 120.0  # within which a killed run is shown as crashed
FULL_DISK_SECONDS = 60.0  # within which a run ends after its disk is full
SMALL_KILOBYTES, LARGE_KILOBYTES = 290, 8000

log = logging.getLogger("lab_day")


def a_folder_grows(day: LabDay) -> None:
    with day.incident("a folder grows, on a schedule") as seen:
        for number in range(3):
            film(day.up.folder / "incoming" / f"morning-{number}.mp4")
        deployment = day.up.deployment("extract/extract")
        parameters = {"source": "incoming", "store": "lab", "settle_seconds": SETTLE_SECONDS, "when_busy": "skip"}
        schedule = {"schedule": {"interval": INTERVAL_SECONDS}, "active": True, "parameters": parameters}
        made = day.up.api(f"/deployments/{deployment['id']}/schedules", [schedule])
        day.schedule = f"/deployments/{deployment['id']}/schedules/{made[0]['id']}"
        run = day.until_scheduled(lambda run: run["state"]["name"] == "Completed")
        seen.found = f"by {run['name']}"
        film(day.up.folder / "incoming" / "noon.mp4")
        day.up.until(lambda: "noon" in day.store("lab").ids(), PATIENCE_SECONDS)
        run = day.until_scheduled(lambda run: run["state"]["name"] == "Nothing new")
        seen.reported = "Completed, then Nothing new"
        day.expect(len(day.store("lab")) == 4, "the store has %d of 4 videos", len(day.store("lab")))
        page = day.store_page("lab")
        day.expect("| Videos with features | 4 of 4 |" in page, "the store's page does not say 4 of 4: %s", page)
        seen.repaired = "nothing to repair"


def a_video_is_broken(day: LabDay) -> None:
    with day.incident("a broken video") as seen:
        broken = day.up.folder / "incoming" / "broken.mp4"
        broken.write_text("half an upload\n", encoding="utf-8")
        run = day.until_scheduled(lambda run: run["state"]["name"] == "Completed with failures")
        seen.found = f"by {run['name']}"
        rows = [row for row in day.up.table(run["id"], "Failed videos") if row["video"].endswith("broken.mp4")]
        day.expect([row["reason"] for row in rows] == ["unreadable"], "the table of failures says %s", rows)
        day.expect("unreadable" in day.store_page("lab"), "the store's page does not count it")
        seen.reported = f"{rows[0]['reason']}: {rows[0]['what to do']}" if rows else "NO"
        film(broken)  # the camera uploads it again
        day.up.until(lambda: "broken" in day.store("lab").ids(), PATIENCE_SECONDS)
        day.up.until(lambda: "unreadable" not in _now(day.store_page("lab")), PATIENCE_SECONDS)
        seen.repaired = "by the schedule's next run, once the file was whole"


def processes_are_killed(day: LabDay) -> None:
    for number in range(2):
        film(day.up.folder / "long" / f"{number}.mp4", seconds=60)

    def decoder() -> int:
        return int(day.up.until(lambda: running_processes(f"file:{day.up.folder / 'long'}"), PATIENCE_SECONDS)[0])

    with day.incident("the worker process of a shard is killed") as seen:
        run = day.launch("extract/extract", source="long", store="long-store")
        os.kill(parent(decoder()), signal.SIGKILL)
        said = day.up.until(
            lambda: [each for each in _lines(day, run) if "was killed by SIGKILL" in each], PATIENCE_SECONDS
        )
        seen.found, seen.reported = "by its run", said[0].partition(". ")[0]
        day.ended(run, "COMPLETED", "Completed")
        seen.repaired = "by the retry of its shard"
    with day.incident("the process of a run is killed") as seen:
        run = day.launch("extract/extract", source="long", store="other-store")
        decoder()
        killed = time.monotonic()
        os.kill(day.up.process_of(run), signal.SIGKILL)
        message = day.ended(run, "CRASHED")
        seconds = time.monotonic() - killed
        day.expect(seconds < CRASH_SECONDS, "a killed run was shown as crashed after %.0f s", seconds)
        seen.found, seen.reported = f"after {seconds:.0f} s", f"Crashed: {message[:80]}"
        day.up.until(lambda: _progress(day, run).endswith("; ended"), 60)
        day.up.retry(run, PATIENCE_SECONDS)
        day.ended(run, "COMPLETED", "Completed")
        seen.repaired = "by Retry"


def the_worker_is_killed(day: LabDay) -> None:
    with day.incident("the Prefect worker is killed") as seen:
        run = day.launch("verify/verify", store="lab")
        day.ended(run, "COMPLETED")
        worker = day.up.run(run)["labels"]["prefect.worker.name"]  # such as `host (1234@5678)`
        os.kill(int(worker.rpartition("(")[2].partition("@")[0]), signal.SIGKILL)
        day.interrupted = {run["id"] for run in day.scheduled() if run["state"]["type"] not in FINAL}
        log_file = day.up.folder / "up.log"
        day.up.until(lambda: "worker ended unexpectedly" in log_file.read_text(encoding="utf-8"), 60)
        seen.found, seen.reported = "by reeldex up", "on its terminal"
        run = day.launch("verify/verify", store="lab")
        day.ended(run, "COMPLETED")
        day.expect(day.up.run(run)["labels"]["prefect.worker.name"] != worker, "the dead worker took another run")
        seen.repaired = "by reeldex up: another worker takes runs"


def a_disk_is_full(day: LabDay) -> None:
    for number in range(6):
        film(day.up.folder / "rows" / f"{number}.mp4", seconds=6)
    with day.incident("a full disk") as seen:
        disk = SmallDisk(day.up.folder / "small", SMALL_KILOBYTES)
        try:
            run = day.launch("extract/extract", source="rows", store="small/store")
            message = day.ended(run, "FAILED")
            full = [line for line in day.up.log(run) if "is full" in line["message"]]
            seen.found = f"in shard {len(day.up.worked_on(run)) - 1}"
            day.expect("The disk holding" in message and "is full" in message, "a full disk is called %s", message)
            day.expect(len(day.up.worked_on(run)) == 2, "%d shards were begun", len(day.up.worked_on(run)))
            day.expect(full, "the log does not say that the disk is full")
            for line in full[:1]:
                ended = datetime.fromisoformat(day.up.run(run)["end_time"])
                seconds = (ended - datetime.fromisoformat(line["timestamp"])).total_seconds()
                day.expect(seconds < FULL_DISK_SECONDS, "the run ended %.0f s after its disk was full", seconds)
            seen.reported = message.partition(". ")[0]
            disk.resize(LARGE_KILOBYTES)  # its administrator makes room
            day.up.retry(run, PATIENCE_SECONDS)
            day.ended(run, "COMPLETED", "Completed")
            day.expect(len(day.store("small/store")) == 6, "the store has %d of 6", len(day.store("small/store")))
            seen.repaired = "by Retry"
        finally:
            while os.path.ismount(disk.folder):
                disk.unmount()


def a_shard_is_damaged(day: LabDay) -> None:
    with day.incident("64 bytes of a shard are overwritten") as seen:
        features = min((day.up.folder / "lab" / "features").rglob("*.h5"))
        content = bytearray(features.read_bytes())
        at = len(content) // 2
        content[at : at + 64] = bytes(each ^ 0xFF for each in content[at : at + 64])
        features.write_bytes(content)
        run = day.launch("verify/verify", store="lab")
        day.ended(run, "FAILED")
        rows = day.up.table(run, "Damages")
        name = f"features/{features.parent.name}/{features.name}"
        day.expect({row["file"] for row in rows} == {name}, "verify found %s, not %s", rows, name)
        seen.found, seen.reported = "by verify", f"{rows[0]['file']}: {rows[0]['what to do']}"
        repair = day.launch("rerun-failed/rerun-failed", store="lab")
        day.ended(repair, "COMPLETED")
        message = day.ended(day.launch("verify/verify", store="lab"), "COMPLETED", "Completed")
        day.expect("No damage found" in message, "after the repair, verify says %s", message)
        worked = bool(day.up.worked_on(repair))
        seen.repaired = "by rerun-failed" if worked else "by the schedule's next run"


def the_day_ends(day: LabDay) -> None:
    with day.incident("the end of the day") as seen:
        day.up.api(day.schedule, {"active": False}, method="PATCH")
        day.up.until(lambda: all(run["state"]["type"] in FINAL for run in day.scheduled()), PATIENCE_SECONDS)
        names = {run["state"]["name"] for run in day.scheduled() if run["id"] not in day.interrupted}
        known = {"Completed", "Completed with failures", "Nothing new", "Skipped"}
        others = [
            f"{run['name']} ({run['id']}): {run['state']['name']} at {run['state']['timestamp']}, "
            f"{run['state']['message']} {run['labels']}"
            for run in day.scheduled()
            if run["id"] not in day.interrupted and run["state"]["name"] not in known
        ]
        day.expect(not others, "runs of the schedule ended otherwise: %s", others)
        history = [row for row in day.store_page("lab").splitlines() if row.startswith("| 20")]
        day.expect(len(history) > 5, "the history of the store has %d runs", len(history))
        for run in [*day.runs, *(run["id"] for run in day.scheduled())]:
            lines = _lines(day, run)
            day.expect(not [line for line in lines if "Traceback" in line], "the log of %s has a stack trace", run)
            day.expect(not [line for line in lines if "\\n" in line], "the log of %s has a quoted line end", run)
            day.expect(
                " left" not in _progress(day, run), "the progress of %s still counts: %s", run, _progress(day, run)
            )
        seen.found, seen.reported = f"{len(day.runs) + len(day.scheduled())} runs", ", ".join(sorted(names))
        seen.repaired = "nothing to repair"
        log.info("The history of the store:\n%s", "\n".join(history))


def _lines(day: LabDay, run: str) -> list[str]:
    return [str(line["message"]) for line in day.up.log(run)]


def _progress(day: LabDay, run: str) -> str:
    return str(day.up.artifacts(run).get("Progress", {}).get("description", ""))


def _now(page: str) -> str:
    """Return what a store's page says of its present state, without its history."""
    return page.partition("**After each run")[0]


PARTS: dict[str, Callable[[LabDay], None]] = {
    "growth": a_folder_grows,
    "broken": a_video_is_broken,
    "killed": processes_are_killed,
    "worker": the_worker_is_killed,
    "disk": a_disk_is_full,
    "damage": a_shard_is_damaged,
    "end": the_day_ends,
}


def main() -> int:
    """Play the day in a folder of its own; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; without any: all of them")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    # A shell that starts this in the background has it ignore Ctrl-C, and all it starts would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    folder = Path(tempfile.mkdtemp(prefix="reeldex-lab-day-"))
    day = LabDay(ReeldexUp(folder, PIPELINE))
    try:
        day.up.start()
        for name, part in PARTS.items():
            if not arguments.parts or name in arguments.parts:
                part(day)
    finally:
        if day.up.process is not None and day.up.process.poll() is None:
            day.up.stop()
        shutil.rmtree(folder, ignore_errors=True)
    for each in day.incidents:
        sys.stdout.write(
            f"\n{each.fault} ({each.seconds:.0f} s)\n  found     {each.found}\n  reported  {each.reported}\n"
            f"  repaired  {each.repaired}\n"
        )
    day.wrong += [f"{each.fault}: not repaired" for each in day.incidents if each.repaired == "NO"]
    sys.stdout.write(
        f"\n{len(day.wrong)} things were wrong\n" + "".join(f"  {json.dumps(each)}\n" for each in day.wrong)
    )
    return 1 if day.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
