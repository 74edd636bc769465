"""A flow run whose shards a Ray cluster extracts: one Prefect task per shard, one worker per node.

Its tasks run in threads of its process, or in processes of Ray on its machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo
from tests.flows.execution.ray_nodes import RayNodes, ray_nodes

pytest.importorskip("prefect_ray", reason="the extra `prefect-ray` is not installed")
pytestmark = pytest.mark.slow


def api(server: dict[str, str], path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    request = urllib.request.Request(  # noqa: S310 - our own server
        server["PREFECT_API_URL"] + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        return json.load(response)


def test_a_flow_run_extracts_its_shards_on_the_cluster(
    server: dict[str, str], tmp_path: Path, make_video: MakeVideo
) -> None:
    for name in "abcd":
        make_video(tmp_path / "videos" / f"{name}.mp4", seconds=1.0)
    with ray_nodes("127.0.0.2", "127.0.0.3") as nodes:
        for task_runner in ("threads", "ray"):
            _extract_and_check(task_runner, nodes, server, tmp_path)


def _extract_and_check(task_runner: str, nodes: RayNodes, server: dict[str, str], folder: Path) -> None:
    before = {run["id"] for run in api(server, "/flow_runs/filter", {})}
    extract = (
        "extract",
        "videos",
        "--store",
        task_runner,
        "--weights",
        "random",
        "--extractors",
        "resnet152",
        "--json",
    )
    cluster = ("--json", "--server", "--engine", "ray", "--ray-address", nodes.address, "--task-runner", task_runner)
    done = subprocess.run(
        [sys.executable, "-m", "reeldex", *extract, "--shard-videos", "1", *cluster],
        env={**nodes.environment, **server},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["shards_done"], report["extracted_ok"]) == (4, 4)
    assert FeatureStore(folder / task_runner).verify().damages == ()
    (run,) = [each["id"] for each in api(server, "/flow_runs/filter", {}) if each["id"] not in before]
    of_run = {"flow_runs": {"id": {"any_": [run]}}}
    tasks = api(server, "/task_runs/filter", {"task_runs": {"name": {"like_": "shard-"}}, **of_run})
    assert sorted(task["name"] for task in tasks) == [f"shard-{number:05d} (1 video)" for number in range(4)]
    assert {task["state"]["type"] for task in tasks} == {"COMPLETED"}
    of_log = {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200}
    logs = " ".join(entry["message"] for entry in api(server, "/logs/filter", of_log))
    assert "127.0.0.2 worker 0: Shard" in logs
    assert "127.0.0.3 worker 0: Shard" in logs
