"""A flow run whose shards a Ray cluster extracts: one Prefect task per shard, one worker per node.

Its tasks run in threads of its process, or in processes of Ray on its machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo
from tests.flows.execution.ray_nodes import RayNodes, ray_nodes
from tests.waiting import wait_until

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.slow


def api(server: dict[str, str], path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    request = urllib.request.Request(  # noqa: S310 - our own server
        server["PREFECT_API_URL"] + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        return json.load(response)


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    with ray_nodes("127.0.0.2", "127.0.0.3") as found:
        yield found


@pytest.mark.parametrize("task_runner", ["threads", "ray"])
def test_a_flow_run_extracts_its_shards_on_the_cluster(
    nodes: RayNodes, server: dict[str, str], tmp_path: Path, make_video: MakeVideo, task_runner: str
) -> None:
    if task_runner == "ray":
        pytest.importorskip("prefect_ray", reason="the extra `prefect-ray` is not installed")
    for name in "abcd":
        make_video(tmp_path / "videos" / f"{name}.mp4", seconds=1.0)
    before = {run["id"] for run in api(server, "/flow_runs/filter", {})}
    extract = [*("extract", "videos", "--store", "store", "--weights", "random", "--extractors", "wide2d", "--json")]
    cluster = ("--engine", "ray", "--ray-address", nodes.address, "--task-runner", task_runner)
    command = [sys.executable, "-m", "reeldex", *extract, "--shard-videos", "1", "--server", *cluster]
    environment = {**nodes.environment, **server}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["shards_done"], report["extracted_ok"]) == (4, 4)
    assert FeatureStore(tmp_path / "store").verify().damages == ()
    (run,) = [each["id"] for each in api(server, "/flow_runs/filter", {}) if each["id"] not in before]

    def tasks() -> list[tuple[str, str]]:
        found = api(
            server,
            "/task_runs/filter",
            {"task_runs": {"name": {"like_": "shard-"}}, "flow_runs": {"id": {"any_": [run]}}},
        )
        return sorted((task["name"], task["state"]["type"]) for task in found)

    # The server stores states of tasks a little later.
    wait_until(lambda: tasks() == [(f"shard-{number:05d} (1 video)", "COMPLETED") for number in range(4)], 60)
    entries = api(server, "/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200})
    for node in ("127.0.0.2", "127.0.0.3"):
        of_node = [entry for entry in entries if f"{node} worker 0: Shard" in entry["message"]]
        assert {entry["task_run_id"] is None for entry in of_node} == {task_runner == "ray"}
