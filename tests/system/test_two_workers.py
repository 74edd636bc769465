"""Two `reeldex worker` of one Prefect server, as on two hosts: their runs share the shards of one store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reeldex.storage.lock import hold_lock
from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo
from tests.flows.stores import outcomes
from tests.system.own_server import OwnServer

PIPELINE = """
extract: {weights: random, extractors: [resnet152], shard_videos: 1}
compute: {device: cpu, lease_seconds: 4.0}
"""
VIDEOS = 8
# Python imports it in every process of a host, so that all of them believe the host's name.
NAMED = "import os, socket\nsocket.gethostname = lambda: os.environ['HOST_OF_TEST']\n"
HOSTS = ("node1", "node2")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, make_video: MakeVideo) -> Iterator[OwnServer]:
    """A server, and a worker of one run on each of two hosts."""
    server = OwnServer(tmp_path_factory.mktemp("cluster"), PIPELINE)
    for number in range(VIDEOS):
        make_video(server.folder / f"videos/{number}.mp4", seconds=1.0)
    (server.folder / "named").mkdir()
    (server.folder / "named/sitecustomize.py").write_text(NAMED, encoding="utf-8")
    workers: list[subprocess.Popen[bytes]] = []
    try:
        server.start_server()
        registered = server.deploy()
        assert registered.returncode == 0, registered.stderr
        for host in HOSTS:
            own = {"HOST_OF_TEST": host, "PYTHONPATH": str(server.folder / "named")}
            state = {"XDG_STATE_HOME": str(server.folder / f"state of {host}")}
            workers.append(server.start_worker(host, "--runs", "1", environment={**own, **state}))
        yield server
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)
        server.end()


def hosts(store: Path) -> dict[int, str]:
    """The host that made each shard."""
    opened = FeatureStore(store)
    found = {manifest.shard: opened.outcomes(manifest.shard) for manifest in opened.manifests()}
    return {shard: str(each.provenance["host"]) for shard, each in found.items() if each is not None}


def claimed_by(store: Path, host: str) -> bool:
    """Whether a process of a host works on a shard."""
    records = [json.loads(path.read_bytes()) for path in (store / "claims").glob("shard-*.json")]
    return any(record["owner"]["host"] == host for record in records)


def waits(cluster: OwnServer, run: str) -> bool:
    """Whether a run waits for its device."""
    return any(line["message"].startswith("Waiting for cpu") for line in cluster.log(run))


def test_runs_on_two_hosts_share_the_shards_of_a_store(cluster: OwnServer) -> None:
    with ExitStack() as devices:
        # Of two runs that start at different times, the first might make all.
        for host in HOSTS:
            device = cluster.folder / f"state of {host}" / "reeldex/devices" / host / "cpu"
            device.mkdir(parents=True, exist_ok=True)
            devices.enter_context(hold_lock(device, 60, "device", "the test"))
        runs = [cluster.launch("extract/extract", source="videos", store="shared", when_busy="share") for _ in HOSTS]
        cluster.until(lambda: all(waits(cluster, run) for run in runs))
    states = [cluster.ended(run, 400) for run in runs]
    assert [state["name"] for state in states] == ["Completed", "Completed"], [state["message"] for state in states]
    store = cluster.folder / "shared"
    assert len(outcomes(store)) == VIDEOS
    made = hosts(store)
    assert set(made.values()) == set(HOSTS), "each host made some of the shards"
    work = [shard for run in runs for shard, videos in cluster.worked_on(run) if videos]
    assert sorted(work) == sorted(made), "no shard was made twice"
    assert list((store / "claims").iterdir()) == []
    assert FeatureStore(store).verify().damages == ()


def test_the_shards_of_a_host_that_is_lost_restart_on_the_other(cluster: OwnServer) -> None:
    store = cluster.folder / "lost"
    lost = cluster.launch("extract/extract", source="videos", store="lost", when_busy="share")
    cluster.until(lambda: any(claimed_by(store, host) for host in HOSTS))
    (host,) = [host for host in HOSTS if claimed_by(store, host)]
    other = cluster.launch("extract/extract", source="videos", store="lost", when_busy="share")
    cluster.until(lambda: claimed_by(store, next(each for each in HOSTS if each != host)))
    os.kill(cluster.process_of(lost), signal.SIGKILL)
    state = cluster.ended(other, 400)
    assert state["name"] == "Completed", state["message"]
    assert cluster.ended(lost)["name"] == "Crashed"
    assert len(outcomes(store)) == VIDEOS
    assert list((store / "claims").iterdir()) == []
    assert FeatureStore(store).verify().damages == ()
