"""A Prefect server as its own documentation starts it: what `reeldex deploy` and `reeldex worker` make of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from reeldex.flows.runs.signs_of_life import ALIVE_SECONDS
from reeldex.flows.server.job_template import fixed_job_template, job_variables
from reeldex.storage.lock import hold_lock
from reeldex.storage.process_id import process_of
from tests.conftest import MakeVideo
from tests.system.own_server import OwnServer

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = """
extract: {weights: random, extractors: [wide2d], shard_videos: 2}
compute: {device: cpu, retries: 1, retry_delay_seconds: 1.0}
"""
# Within which a killed process is shown.
SHOWN_SECONDS = 120
# For how long the automations wait in place of minutes, in each of their steps: more than from one sign to the next.
SILENCE_SECONDS = 1.5 * ALIVE_SECONDS
GONE = "4194000@1"  # a process that cannot be


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, make_video: MakeVideo) -> Iterator[OwnServer]:
    """A server of the lab's own, with the deployments and a worker of two runs."""
    server = OwnServer(tmp_path_factory.mktemp("lab"), PIPELINE)
    for index in range(2):
        make_video(server.folder / "good" / f"good {index}.mp4", seconds=0.5)
    try:
        server.start_server()
        registered = server.deploy()
        assert registered.returncode == 0, registered.stderr
        server.start("--runs", "2")
        yield server
    finally:
        server.end()


@pytest.fixture(autouse=True)
def working(lab: OwnServer) -> None:
    """A worker for each test, also after one that killed it."""
    assert lab.process is not None
    if lab.process.poll() is not None:
        lab.start("--runs", "2")


@contextmanager
def device_held(lab: OwnServer) -> Iterator[None]:
    """Keep runs from computing, so that they last as long as a test wants."""
    device = lab.folder / "state/reeldex/devices" / socket.gethostname() / "cpu"
    device.mkdir(parents=True, exist_ok=True)
    with hold_lock(device, 60, "device", "the test"):
        yield


def waiting_run(lab: OwnServer, store: str) -> str:
    """Launch a run, and return its id once it waits for the device in a task."""
    run = lab.launch("extract/extract", source="good", store=store)
    lab.until(lambda: any(line["message"].startswith("Waiting for cpu") for line in lab.log(run)))
    lab.until(lambda: "RUNNING" in task_states(lab, run))  # the server stores it with a delay
    return run


def task_states(lab: OwnServer, run: str) -> list[str]:
    return sorted(str(each["state_type"]) for each in lab.task_runs(run))


def states(lab: OwnServer, run: str) -> list[str]:
    """Return the names of all states that a run has had."""
    return [state["name"] for state in lab.api(f"/flow_run_states/?flow_run_id={run}")]


def noted_run(lab: OwnServer, state: dict[str, str], labels: dict[str, str], tag: str = "reeldex") -> str:
    """Create a run in this state, as processes with these labels would have left it."""
    flow = lab.deployment("verify/verify")["flow_id"]
    run = lab.api("/flow_runs/", {"flow_id": flow, "tags": [tag], "name": "noted", "state": state})
    lab.api(f"/flow_runs/{run['id']}/labels", labels, method="PATCH")
    return str(run["id"])


def test_deploy_may_be_repeated_and_keeps_what_was_edited(lab: OwnServer) -> None:
    automations = lab.api("/automations/filter", {})
    assert len({each["name"] for each in automations}) == len(automations) == 2
    assert lab.api("/work_pools/reeldex")["concurrency_limit"] == 4
    paused = automations[0]
    lab.api(f"/automations/{paused['id']}", {"enabled": False}, method="PATCH")
    lab.api("/work_pools/reeldex", {"concurrency_limit": 7}, method="PATCH")
    extract = lab.deployment("extract/extract")
    secret = {"AWS_SECRET_ACCESS_KEY": "{{ prefect.blocks.secret.lab-s3 }}"}
    edited = {**extract["job_variables"], "command": "former", "env": secret}
    lab.api(f"/deployments/{extract['id']}", {"job_variables": edited}, method="PATCH")
    former = {
        **{name: paused[name] for name in ("description", "trigger", "actions")},
        "name": "reeldex: a run that gives no sign of life is crashed",
    }
    lab.api("/automations/", former)

    assert lab.deploy().returncode == 0
    again = {each["name"]: each["enabled"] for each in lab.api("/automations/filter", {})}
    assert again == {each["name"]: each is not paused for each in automations}
    assert lab.api("/work_pools/reeldex")["concurrency_limit"] == 7
    assert lab.deployment("extract/extract")["job_variables"] == {**extract["job_variables"], "env": secret}
    lab.api(f"/deployments/{extract['id']}", {"job_variables": extract["job_variables"]}, method="PATCH")
    names = {each["name"] for each in lab.api("/deployments/filter", {})}
    assert names == {"extract", "rerun-failed", "verify", "train", "evaluate", "index", "pipeline"}
    lab.api(f"/automations/{paused['id']}", {"enabled": True}, method="PATCH")
    assert lab.deploy("--runs", "3").returncode == 0
    assert lab.api("/work_pools/reeldex")["concurrency_limit"] == 3


def test_automations_learn_at_once_that_a_run_of_a_new_schedule_has_ended(lab: OwnServer) -> None:
    trigger = {
        "type": "event",
        "posture": "Reactive",
        "threshold": 1,
        "within": 0,
        "expect": ["prefect.flow-run.Completed"],
    }
    automation = lab.api("/automations/", {"name": "ended", "trigger": trigger, "actions": [{"type": "do-nothing"}]})
    deployment = lab.deployment("extract/extract")["id"]
    parameters = {"source": "good", "store": "scheduled"}
    schedule = {"schedule": {"interval": 10}, "active": True, "parameters": parameters}
    made = lab.api(f"/deployments/{deployment}/schedules", [schedule])
    wanted = {
        "event": {"name": ["prefect.automation.triggered"]},
        "resource": {"id": [f"prefect.automation.{automation['id']}"]},
    }
    try:
        ours = {"deployment_id": {"any_": [deployment]}, "state": {"type": {"any_": ["COMPLETED"]}}}
        done = lab.until(
            lambda: [run for run in lab.api("/flow_runs/filter", {"flow_runs": ours}) if run["auto_scheduled"]]
        )
        assert done
        lab.until(lambda: lab.api("/events/filter", {"filter": wanted})["total"], 30)
    finally:
        lab.api(f"/deployments/{deployment}/schedules/{made[0]['id']}", method="DELETE")
        lab.api(f"/automations/{automation['id']}", method="DELETE")


def test_of_twenty_submissions_only_as_many_run_as_the_worker_may(lab: OwnServer) -> None:
    with device_held(lab):
        runs = [lab.launch("extract/extract", source="good", store=f"many-{number}") for number in range(20)]

        def types() -> list[str]:
            return [lab.run(run)["state"]["type"] for run in runs]

        lab.until(lambda: types().count("RUNNING") == 2)
        time.sleep(10)  # time is tested: a worker without a limit would have started the others
        assert sorted(types()) == ["RUNNING"] * 2 + ["SCHEDULED"] * 18
        assert len([each for each in lab.tree() if "flow_process" in each.command]) == 2
        for run, kind in zip(runs, types(), strict=True):
            if kind == "SCHEDULED":
                lab.api(f"/flow_runs/{run}", method="DELETE")
    left = [run for run in runs if lab.has_run(run)]
    assert [lab.ended(run)["name"] for run in left] == ["Completed", "Completed"]


def test_a_killed_process_is_shown_with_its_tasks_and_a_retry_is_left_alone(lab: OwnServer) -> None:
    with device_held(lab):
        run = waiting_run(lab, "killed")
        os.kill(lab.process_of(run), signal.SIGKILL)
        killed = time.monotonic()
        assert lab.ended(run, SHOWN_SECONDS)["type"] == "CRASHED"
        lab.awaits_retry(run)  # at once: nobody may report the crash a second time
        lab.until(lambda: states(lab, run)[-1] == "Running")
        left_seconds = SHOWN_SECONDS - (time.monotonic() - killed)
        lab.until(lambda: {"CRASHED", "RUNNING"} <= set(task_states(lab, run)), left_seconds)
        time.sleep(20)  # time is tested: the host has looked for lost runs since
        # That of the shard, which waits for the device; the short ones before it may have been seen above.
        lab.until(lambda: task_states(lab, run).count("RUNNING") == 1)
    assert lab.ended(run)["name"] == "Completed"
    assert states(lab, run).count("Crashed") == 1
    assert "RUNNING" not in task_states(lab, run)


def test_the_tasks_of_a_killed_run_that_nobody_retries_do_not_stay_running(lab: OwnServer) -> None:
    with device_held(lab):
        run = waiting_run(lab, "not-retried")
        os.kill(lab.process_of(run), signal.SIGKILL)
        lab.until(lambda: "RUNNING" not in task_states(lab, run), SHOWN_SECONDS)
    assert lab.run(run)["state"]["type"] == "CRASHED"
    assert "CRASHED" in task_states(lab, run)


def test_a_run_that_was_killed_with_its_worker_is_shown(lab: OwnServer) -> None:
    with device_held(lab):
        run = waiting_run(lab, "all-killed")
        for process in lab.tree():
            os.kill(process.pid, signal.SIGKILL)
        assert lab.process is not None
        lab.process.wait()
        lab.until_without_worker(lambda: lab.run(run)["state"]["type"] == "CRASHED", SHOWN_SECONDS)
    lab.start("--runs", "2")
    assert lab.retry(run)["name"] == "Completed"


def test_a_killed_command_is_shown_although_no_worker_started_it(lab: OwnServer) -> None:
    with device_held(lab), ExitStack() as stack:
        command = lab.popen("extract", "good", "--store", "by-command")
        stack.callback(command.kill)
        query = {"flow_runs": {"tags": {"all_": ["reeldex"]}, "deployment_id": {"is_null_": True}}}
        run = lab.until(lambda: [each for each in lab.api("/flow_runs/filter", query) if each["name"] != "noted"])[0]
        lab.process_of(run["id"])
        command.send_signal(signal.SIGKILL)
        lab.until(lambda: lab.run(run["id"])["state"]["type"] == "CRASHED", SHOWN_SECONDS)


def test_only_runs_whose_process_is_gone_are_crashed(lab: OwnServer) -> None:
    own, host = process_of(os.getpid()), socket.gethostname()
    running, pending = {"type": "RUNNING", "name": "Running"}, {"type": "PENDING", "name": "Pending"}
    awaiting, scheduled = {"type": "SCHEDULED", "name": "AwaitingRetry"}, {"type": "SCHEDULED", "name": "Late"}
    dead = {"reeldex.host": host, "reeldex.process": GONE, "prefect.worker.name": f"{host} ({GONE})"}
    alive = {"reeldex.host": host, "reeldex.process": own, "prefect.worker.name": f"{host} ({own})"}
    lost = {
        "its process is gone": noted_run(lab, running, dead),
        "taken by a worker that is gone": noted_run(lab, pending, {"prefect.worker.name": dead["prefect.worker.name"]}),
    }
    kept = {
        "its process is alive": noted_run(lab, running, alive),
        "of another host": noted_run(lab, running, {**dead, "reeldex.host": "elsewhere"}),
        "of no process": noted_run(lab, running, {}),
        # What a second worker of the host sees while the first has just taken a run.
        "taken by a worker that is alive": noted_run(lab, pending, {**dead, **alive, "reeldex.process": GONE}),
        "taken by a worker of another host": noted_run(lab, pending, {"prefect.worker.name": f"elsewhere ({GONE})"}),
        "taken by a worker of another name": noted_run(lab, pending, {"prefect.worker.name": host}),
        "awaits a retry": noted_run(lab, awaiting, dead),
        "queued": noted_run(lab, scheduled, dead),
        "retried, and not noted yet": noted_run(
            lab, running, {**dead, **alive, "reeldex.process": GONE, "reeldex.running": "x"}
        ),
        "not ours": noted_run(lab, running, dead, tag="other"),
    }
    lab.start_worker("second", "--runs", "1")  # which looks when it starts
    second, lab.process = lab.process, lab.first
    try:
        lab.until(lambda: {lab.run(run)["state"]["type"] for run in lost.values()} == {"CRASHED"}, 60)
        time.sleep(20)  # time is tested: the first worker has looked too
        types = {why: lab.run(run)["state"]["type"] for why, run in kept.items()}
        assert "CRASHED" not in types.values(), types
    finally:
        assert second is not None
        second.terminate()
        second.wait(60)
        for run in (*lost.values(), *kept.values()):
            lab.api(f"/flow_runs/{run}", method="DELETE")


def test_a_server_that_was_away_crashes_no_run_that_is_alive(lab: OwnServer) -> None:
    lab.set_silence(SILENCE_SECONDS)
    with device_held(lab):
        run = waiting_run(lab, "outlives-the-server")
        worker = lab.process
        lab.kill_server()
        time.sleep(1.1 * SILENCE_SECONDS)  # time is tested: longer than the automations wait for a sign of life
        lab.start_server()
        lab.process = worker
        time.sleep(1.1 * SILENCE_SECONDS)  # time is tested: the automations have been evaluated
        assert lab.run(run)["state"]["type"] == "RUNNING"
    assert lab.ended(run)["type"] == "COMPLETED"
    assert "Crashed" not in states(lab, run)


def test_old_runs_are_deleted_with_their_logs_and_artifacts(lab: OwnServer) -> None:
    run = lab.launch("extract/extract", source="good", store="old")
    assert lab.ended(run)["name"] == "Completed"
    assert lab.log(run)
    assert lab.artifacts(run)
    other = noted_run(lab, {"type": "COMPLETED", "name": "Completed"}, {}, tag="other")
    with device_held(lab):
        active = waiting_run(lab, "active")
        pipeline = lab.folder / "short.yaml"
        pipeline.write_text(f"{PIPELINE}server: {{retention_days: 0.00002}}\n", encoding="utf-8")
        lab.start_worker("cleaning", "--runs", "1", "--config", str(pipeline))
        cleaning, lab.process = lab.process, lab.first
        try:
            lab.until(lambda: not lab.has_run(run), 120)
        finally:
            assert cleaning is not None
            cleaning.terminate()
            cleaning.wait(60)
        assert lab.has_run(active)
    assert lab.has_run(other)
    of_run = {"flow_run_id": {"any_": [run]}}
    assert lab.api("/artifacts/filter", {"artifacts": of_run}) == []
    lab.until(lambda: not lab.api("/logs/filter", {"logs": of_run}), 60)
    assert lab.ended(active)["name"] == "Completed"
    shutil.rmtree(lab.folder / "old")


def test_a_worker_needs_the_deployments_and_a_server(lab: OwnServer) -> None:
    environment: dict[str, Any] = dict(lab.environment)
    del environment["PREFECT_API_URL"]
    for command in ("worker", "deploy"):
        refused = lab.reeldex(command, environment=environment)
        assert refused.returncode == 2
        assert "No Prefect server is configured." in refused.stderr


def test_prefects_own_deploy_works_with_a_pool_that_fixes_how_runs_start(lab: OwnServer) -> None:
    # The last test of this file: it replaces the deployments.
    lab.api("/work_pools/reeldex", {"base_job_template": fixed_job_template(job_variables())}, method="PATCH")
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=ROOT,
        env=lab.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = lab.launch("verify/verify", store="/nowhere")
    assert "is not a feature store" in lab.ended(run)["message"]
