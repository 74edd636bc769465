"""Every way in which a run ends, is tried again, or goes on, on a real server with a real worker."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import sys
import time
from datetime import datetime
from datetime import time as clock_time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from reeldex.flows.runs.signs_of_life import NOT_RESPONDING
from reeldex.flows.server.automations import STEP_SECONDS
from reeldex.storage.lock import hold_lock
from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo
from tests.processes import parent, running_processes
from tests.system.running import ReeldexUp
from tests.system.shared_up.conftest import LabStoreRuns
from tests.waiting import wait_until

# For how long the automations wait in place of minutes, in each of their steps, while the only run is silent.
SILENCE_SECONDS = 10
# A library with a binary part.
ONLY_PREFECT_IMPORTS = "pendulum" if sys.version_info < (3, 13) else "whenever"


def _decoders(up: ReeldexUp, folder: str) -> list[int]:
    return running_processes(f"file:{up.folder / folder}")


def _has_loaded(process: int, library: str) -> bool:
    return f"/{library}/" in Path(f"/proc/{process}/maps").read_text(encoding="utf-8")


def test_retry_does_the_lost_shard_alone_and_reports_on_all(up: ReeldexUp) -> None:
    in_the_way = up.stand_in_the_way("lost", 1)
    run = up.launch("extract/extract", source="good", store="lost")
    state = up.ended(run)
    assert (state["type"], state["name"]) == ("FAILED", "Failed")
    assert "1 shard LOST: 00001" in state["message"]
    assert "press Retry" in state["message"]
    # Retried automatically, as an infrastructure error; its two videos were not extracted again.
    assert up.worked_on(run) == [(0, 2), (1, 2), (1, 0), (2, 2)]
    assert not any("Traceback" in line["message"] for line in up.log(run))

    in_the_way.rmdir()
    state = up.retry(run)
    assert (state["type"], state["name"]) == ("COMPLETED", "Completed")
    assert "0 failed, 3 shards done" in state["message"]
    assert up.worked_on(run)[4:] == [(1, 0)]
    assert len(FeatureStore(up.folder / "lost")) == 6

    # A shard that is gone although its task was completed is not taken for done.
    (up.folder / "lost" / "features" / "wide2d.random" / "shard-00002.h5").unlink()
    run = up.launch("rerun-failed/rerun-failed", store="lost")
    assert up.ended(run)["name"] == "Completed"
    assert up.worked_on(run) == [(2, 2)]


def test_broken_videos_do_not_fail_a_run_and_are_tried_again_when_asked_for(
    up: ReeldexUp, lab_store_runs: LabStoreRuns
) -> None:
    states = [up.run(run)["state"] for run in lab_store_runs]
    assert {state["type"] for state in states} == {"COMPLETED"}
    assert [state["name"] for state in states] == [*["Completed with failures"] * 2, *["Completed"] * 2]
    assert states[0]["message"].startswith("1 video has no features: 1 unreadable.")
    artifacts = up.artifacts(lab_store_runs.extracted)
    assert "| Without features now | 1 |" in artifacts["Summary"]["data"]
    failed = artifacts["Failed videos"]["data"]
    assert "a_broken_video" in failed.replace("\\", "").replace("\u200b", "")
    assert "rerun-failed" in failed
    assert artifacts["Pictures"]["data"].count("data:image/jpeg;base64,") == 3
    assert artifacts["Progress"]["data"] == 100.0
    assert "4 of 4 videos done, 1 failed" in artifacts["Progress"]["description"]
    assert (up.worked_on(lab_store_runs.unchosen), up.worked_on(lab_store_runs.retried)) == ([], [(0, 1)])


def test_what_a_form_cannot_check_is_said_without_a_stack_trace(up: ReeldexUp) -> None:
    no_weights = {"weights": {"folder": str(up.folder / "no weights"), "files.wide2d": str(up.folder / "none.pth")}}
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("extract/extract", {"source": "nowhere", "store": "s"}, "There is no file or folder 'nowhere'."),
        (
            "extract/extract",
            {"source": "good", "store": "s", "network_weights": "pretrained", "settings": no_weights},
            "none.pth, the path given in the configuration",
        ),
        ("rerun-failed/rerun-failed", {"store": "nowhere"}, "not a feature store"),
        ("verify/verify", {"store": "nowhere"}, "not a feature store"),
    ]
    runs = [(up.launch(name, **parameters), said) for name, parameters, said in cases]
    for run, said in runs:
        state = up.ended(run)
        assert state["type"] == "FAILED"
        assert said in state["message"]
        lines = [line["message"] for line in up.log(run)]
        assert any(said in line for line in lines)
        assert not any("Traceback" in line for line in lines)
    assert not (up.folder / "s").exists()


def test_a_worker_process_that_dies_takes_only_its_shard_with_it(up: ReeldexUp, make_video: MakeVideo) -> None:
    # The second one has many frames to decode, but few to compute.
    for index, (seconds, rate) in enumerate(((1, 25), (15, 100), (1, 25))):
        make_video(up.folder / "three" / f"{index}.mp4", seconds=seconds, size="320x240", rate=rate)
    settings = {"extract.shard_videos": 1, "compute": {"retries": 1, "retry_delay_seconds": 1.0}}
    run = up.launch("extract/extract", source="three", store="three-store", settings=settings)
    decoder = up.until(lambda: _decoders(up, "three/1.mp4"))[0]
    worker = parent(decoder)
    assert _has_loaded(up.process_of(run), ONLY_PREFECT_IMPORTS)
    assert not _has_loaded(worker, ONLY_PREFECT_IMPORTS)
    os.kill(worker, signal.SIGKILL)
    state = up.ended(run)
    assert (state["type"], state["name"]) == ("COMPLETED", "Completed")
    assert up.worked_on(run) == [(0, 1), (1, 1), (1, 1), (2, 1)]
    assert any("was killed by SIGKILL" in line["message"] for line in up.log(run))


def test_a_killed_run_is_crashed_and_goes_on_where_it_stopped(up: ReeldexUp) -> None:
    shutil.copytree(up.folder / "good", up.folder / "interrupted")
    shutil.copy(up.folder / "long" / "long 0.mp4", up.folder / "interrupted" / "z long.mp4")
    run = up.launch("extract/extract", source="interrupted", store="interrupted-store")
    up.until(lambda: _decoders(up, "interrupted/z long.mp4"))
    up.until(lambda: (3, 1) in up.worked_on(run))  # what is not sent before the process is killed is lost
    os.kill(up.process_of(run), signal.SIGKILL)
    assert up.ended(run)["type"] == "CRASHED"
    up.until(lambda: not _decoders(up, "interrupted"), seconds=10)

    shutil.copy(up.folder / "good" / "good 0.mp4", up.folder / "interrupted" / "z long.mp4")
    assert up.retry(run)["type"] == "COMPLETED"
    assert [shard for shard, _ in up.worked_on(run)] == [0, 1, 2, 3, 3]


def test_a_cancelled_run_leaves_no_process_and_a_store_that_goes_on(up: ReeldexUp) -> None:
    run = up.launch("extract/extract", source="long", store="cancelled")
    up.until(lambda: _decoders(up, "long"))
    up.cancel(run)
    up.until(lambda: not _decoders(up, "long"), seconds=10)
    assert up.ended(run, seconds=20)["type"] == "CANCELLED"
    store = FeatureStore(up.folder / "cancelled")
    with store.lock():  # nobody holds it any more
        assert store.status().pending == 2


def test_two_runs_share_a_device_shard_by_shard_and_a_store_not_at_all(up: ReeldexUp) -> None:
    device = up.folder / "state/reeldex/devices" / socket.gethostname() / "cpu"
    device.mkdir(parents=True, exist_ok=True)
    # While the test holds the device, the first run holds its store, however short its work is.
    with hold_lock(device, 60, "device", "the test"):
        first = up.launch("extract/extract", source="good", store="shared")
        up.until(lambda: any(line["message"].startswith("Waiting for cpu") for line in up.log(first)))
        other = up.launch("extract/extract", source="good", store="other-store")
        skipped = up.launch("extract/extract", source="good", store="shared", when_busy="skip")
        refused = up.launch("extract/extract", source="good", store="shared", when_busy="fail")
        later = up.launch("extract/extract", source="good", store="shared")
        assert up.ended(skipped)["name"] == "Skipped"
        assert "is in use by process" in up.ended(refused)["message"]
    assert up.ended(first)["name"] == "Completed"
    assert up.ended(other)["name"] == "Completed"
    assert (up.ended(later)["name"], up.worked_on(later)) == ("Nothing new", [])
    spans = []
    for run in (first, other):
        lines = [line for line in up.log(run) if line["message"].startswith("Shard ")]
        spans += [(a["timestamp"], b["timestamp"]) for a, b in zip(lines[::2], lines[1::2], strict=True)]
    spans.sort()
    assert len(spans) == 6
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans)), spans


def test_the_next_runs_of_a_nightly_schedule_are_planned(up: ReeldexUp) -> None:
    deployment = up.deployment("extract/nightly")
    (schedule,) = [each["schedule"] for each in deployment["schedules"] if each["active"]]
    state = {"type": {"any_": ["SCHEDULED"]}}
    query = {"flow_runs": {"deployment_id": {"any_": [deployment["id"]]}, "state": state}}
    planned = up.until(lambda: up.api("/flow_runs/filter", query))
    local = ZoneInfo(schedule["timezone"])
    times = {datetime.fromisoformat(run["expected_start_time"]).astimezone(local).time() for run in planned}
    assert (schedule["timezone"], times) == ("Europe/Paris", {clock_time(int(schedule["cron"].split()[1]))})


def test_a_schedule_takes_what_is_new_and_leaves_what_is_still_being_written(up: ReeldexUp) -> None:
    deployment = up.deployment("extract/growing folder")
    assert deployment["global_concurrency_limit"] is None, "the runs decide by the store's lock"
    assert deployment["schedules"][0]["active"] is False
    shutil.copy(up.folder / "good" / "good 0.mp4", up.folder / "growing" / "a.mp4")
    time.sleep(3.5)  # time is tested: the file has to be older than `settle_seconds`
    schedule = f"/deployments/{deployment['id']}/schedules/{deployment['schedules'][0]['id']}"
    often = {"interval": 12, "timezone": "UTC"}  # seconds: fewer than pipeline.yaml admits
    up.api(schedule, {"active": True, "schedule": often}, method="PATCH")
    query = {"flow_runs": {"deployment_id": {"any_": [deployment["id"]]}}, "sort": "END_TIME_DESC", "limit": 200}

    def ended_runs() -> list[tuple[str, str]]:
        """Return name and message of the states of runs that have ended, in the order of their ends."""
        states = [run["state"] for run in up.api("/flow_runs/filter", query) if run["state"]["type"] == "COMPLETED"]
        # On a slow machine, a run may begin before the one before it has ended.
        return [(state["name"], state["message"]) for state in reversed(states) if state["name"] != "Skipped"]

    up.until(lambda: [name for name, _ in ended_runs()][:2] == ["Completed", "Nothing new"])
    content = (up.folder / "good" / "good 1.mp4").read_bytes()
    with (up.folder / "growing" / "b.mp4").open("wb") as growing:

        def left_while_it_grows() -> bool:
            growing.write(content[:100])
            growing.flush()
            return any("1 video left to the next run" in message for _, message in ended_runs())

        up.until(left_while_it_grows)
        assert FeatureStore(up.folder / "grown").ids() == ["a"]
        growing.seek(0)
        growing.truncate()
        growing.write(content)
    up.until(lambda: "b" in FeatureStore(up.folder / "grown").ids())
    up.api(schedule, {"active": False}, method="PATCH")
    up.until(lambda: [name for name, _ in ended_runs()].count("Completed") == 2)
    assert {name for name, _ in ended_runs()} == {"Completed", "Nothing new"}
    manifests = FeatureStore(up.folder / "grown").manifests()
    assert [[entry.video_id for entry in manifest.videos] for manifest in manifests] == [["a"], ["b"]]


def test_a_run_that_gives_no_sign_of_life_is_crashed(up: ReeldexUp) -> None:
    up.set_silence(SILENCE_SECONDS)
    run = up.launch("extract/extract", source="long", store="frozen")
    up.until(lambda: _decoders(up, "long"))
    # As good as a machine that is switched off: nobody who could tell of it is told.
    os.kill(up.process_of(run), signal.SIGSTOP)
    up.until(lambda: up.run(run)["state"]["name"] == NOT_RESPONDING, 60 + SILENCE_SECONDS)
    state = up.ended(run, 60 + SILENCE_SECONDS)
    assert state["type"] == "CRASHED"
    assert "No sign of life for" in state["message"]
    os.kill(up.process_of(run), signal.SIGKILL)
    up.until(lambda: not _decoders(up, "long"), seconds=10)
    up.set_silence(STEP_SECONDS)  # later runs are silent for longer


def test_edits_made_in_the_ui_outlive_a_restart_and_no_process_outlives_the_end(up: ReeldexUp) -> None:
    deployment = up.deployment("extract/nightly")
    assert deployment["schedules"][0]["schedule"]["timezone"] == "Europe/Paris"
    schedule = f"/deployments/{deployment['id']}/schedules/{deployment['schedules'][0]['id']}"
    edited = {"active": False, "schedule": {"cron": "0 3 * * *", "timezone": "Europe/Paris"}}
    up.api(schedule, edited, method="PATCH")
    run = up.launch("extract/extract", source="long", store="stopped")
    up.until(lambda: _decoders(up, "long"))
    assert up.stop() == 0
    assert running_processes(str(up.folder)) == []
    assert running_processes(f"--port\0{up.port}") == []

    configuration = yaml.safe_load((up.folder / "pipeline.yaml").read_text(encoding="utf-8"))
    configuration["schedules"] = [each for each in configuration["schedules"] if each["name"] == "nightly"]
    (up.folder / "pipeline.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    up.start()
    assert up.ended(run)["type"] == "CRASHED"
    held = up.deployment("extract/nightly")["schedules"][0]
    assert (held["active"], held["schedule"]["cron"]) == (False, "0 3 * * *")
    names = {each["name"] for each in up.api("/deployments/filter", {})}
    assert names == {"extract", "rerun-failed", "verify", "train", "evaluate", "index", "pipeline", "nightly"}


def test_a_killed_reeldex_up_leaves_no_process_and_holds_no_device_or_schedule(up: ReeldexUp) -> None:
    deployment = up.deployment("extract/nightly")
    schedule = f"/deployments/{deployment['id']}/schedules/{deployment['schedules'][0]['id']}"
    edited = {"active": False, "schedule": {"cron": "0 3 * * *", "timezone": "Europe/Paris"}}
    up.api(schedule, edited, method="PATCH")
    run = up.launch("extract/nightly", source="long", store="killed-up")
    up.until(lambda: _decoders(up, "long"))
    processes = up.tree()
    assert len(processes) >= 5, "up, server, worker, flow, shard worker"
    up.stop(signal.SIGKILL)
    wait_until(
        lambda: not any(each.alive() for each in processes),
        5,
        details=lambda: str([str(each) for each in processes if each.alive()]),
    )

    configuration = yaml.safe_load((up.folder / "pipeline.yaml").read_text(encoding="utf-8"))
    next(each for each in configuration["schedules"] if each["name"] == "nightly")["cron"] = "0 4 * * *"
    (up.folder / "pipeline.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    up.start()
    state = up.ended(run)
    assert state["type"] == "CRASHED"
    assert "Retry continues" in state["message"]
    held = up.deployment("extract/nightly")["schedules"][0]
    assert (held["active"], held["schedule"]["cron"]) == (True, "0 4 * * *")
    later = up.launch("extract/nightly", source="good", store="killed-up-good")
    assert up.ended(later, seconds=60)["type"] == "COMPLETED"
    limits = up.api("/v2/concurrency_limits/filter", {})
    assert {limit["name"]: limit["active_slots"] for limit in limits if limit["active_slots"]} == {}


def test_a_run_that_waits_for_a_device_says_for_whom(up: ReeldexUp) -> None:
    holder = up.launch("extract/extract", source="long", store="holder")
    up.until(lambda: _decoders(up, "long"))
    waiting = up.launch("extract/extract", source="good", store="waiting")

    def said() -> list[str]:
        return [line["message"] for line in up.log(waiting) if line["message"].startswith("Waiting for cpu")]

    up.until(said, seconds=60)
    time.sleep(4)  # time is tested: at most one line a minute, where every second is looked
    assert len(said()) == 1
    assert f"(run {up.run(holder)['name']!r})" in said()[0]
    up.cancel(holder)
    assert up.ended(waiting)["type"] == "COMPLETED"
