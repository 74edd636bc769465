"""Two `reeldex worker` of one Prefect server, as on two hosts: their runs share the shards of one store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reeldex.storage.lock import hold_lock
from reeldex.storage.store import FeatureStore
from tests import object_store
from tests.conftest import MakeVideo
from tests.flows.stores import outcomes
from tests.object_store import KEY, SECRET
from tests.slow_reading import path_with_slow_ffmpeg
from tests.system.own_server import OwnServer

PIPELINE = """
extract: {weights: random, extractors: [wide2d], shard_videos: 1}
compute: {device: cpu, lease_seconds: 4.0}
"""
VIDEOS = 8
DEPLOY = Path(__file__).resolve().parents[2] / "deploy/prefect"
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
    slow = path_with_slow_ffmpeg(server.folder, "*", 0.5)  # a shard takes two seconds
    workers: list[subprocess.Popen[bytes]] = []
    try:
        server.start_server()
        registered = server.deploy()
        assert registered.returncode == 0, registered.stderr
        for host in HOSTS:
            python_path = os.pathsep.join([str(server.folder / "named"), os.environ["PYTHONPATH"]])
            own = {"HOST_OF_TEST": host, "PYTHONPATH": python_path, "PATH": slow}
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


def started_together(cluster: OwnServer, store: str) -> list[str]:
    """Launch a run per host; return them once both compute. Of runs that start apart, the first might do it all."""
    with ExitStack() as devices:
        for host in HOSTS:
            device = cluster.folder / f"state of {host}" / "reeldex/devices" / host / "cpu"
            device.mkdir(parents=True, exist_ok=True)
            devices.enter_context(hold_lock(device, 60, "device", "the test"))
        runs = [cluster.launch("extract/extract", source="videos", store=store, when_busy="share") for _ in HOSTS]
        cluster.until(lambda: all(waits(cluster, run) for run in runs))
    return runs


def test_runs_on_two_hosts_share_the_shards_of_a_store(cluster: OwnServer) -> None:
    runs = started_together(cluster, "shared")
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
    runs = started_together(cluster, "lost")
    lost = next(run for run in runs if cluster.run(run)["labels"]["reeldex.host"] == "node1")
    (other,) = {*runs} - {lost}
    process = cluster.process_of(lost)
    cluster.until(lambda: claimed_by(store, "node1"))
    os.kill(process, signal.SIGKILL)
    state = cluster.ended(other, 400)
    assert state["name"] == "Completed", state["message"]
    assert cluster.ended(lost)["name"] == "Crashed"
    assert len(outcomes(store)) == VIDEOS
    assert "node2" in hosts(store).values()
    # The next who uses the store clears what the lost run has left, such as the claim of a shard that it had published.
    with FeatureStore(store).lock(60):
        pass
    assert list((store / "claims").iterdir()) == []
    assert FeatureStore(store).verify().damages == ()


@pytest.mark.parametrize("pool", ["docker", "kubernetes"])
def test_a_container_of_a_work_pool_executes_its_run(cluster: OwnServer, pool: str) -> None:
    """All that Prefect's worker does is to start a container with this command and these variables."""
    template = ["--base-job-template", str(DEPLOY / "kubernetes-pool.json")] if pool == "kubernetes" else []
    prefect(cluster, "work-pool", "create", "--type", pool, *template, f"reeldex-{pool}")
    prefect(cluster, "--no-prompt", "deploy", "--prefect-file", str(DEPLOY / f"{pool}.yaml"), "--all")
    deployment = cluster.deployment(f"extract/extract-{pool}")
    assert deployment["parameters"]["when_busy"] == "share"
    settings = {"extract": {"weights": "random", "extractors": ["wide2d"]}, "compute": {"device": "cpu"}}
    run = cluster.launch(f"extract/extract-{pool}", source="videos/0.mp4", store=f"in {pool}", settings=settings)
    (pooled,) = cluster.api("/work_pools/filter", {"work_pools": {"name": {"any_": [f"reeldex-{pool}"]}}})
    manifest = pooled["base_job_template"]["job_configuration"].get("job_manifest")
    command = (
        deployment["job_variables"].get("command") or manifest["spec"]["template"]["spec"]["containers"][0]["args"]
    )
    assert command in ("flow-run", ["flow-run"])
    answer = cluster.reeldex("flow-run", environment={**cluster.environment, "PREFECT__FLOW_RUN_ID": run})
    assert answer.returncode == 0, answer.stderr
    assert cluster.ended(run)["name"] == "Completed", cluster.log(run)
    assert len(outcomes(cluster.folder / f"in {pool}")) == 1


SAVE = """
import os
from prefect.blocks.system import Secret
for name in ("lab-key", "lab-secret"):
    Secret(value=os.environ[name]).save(name)
"""


def test_credentials_in_blocks_reach_the_process_of_a_run_and_nothing_else(cluster: OwnServer) -> None:
    secrets = {**cluster.environment, "lab-key": KEY, "lab-secret": SECRET}
    subprocess.run([sys.executable, "-c", SAVE], env=secrets, cwd=cluster.folder, check=True)
    with object_store.running() as server, object_store.bucket(server) as bucket:
        videos = {"a.mp4": (cluster.folder / "videos/0.mp4").read_bytes(), "broken.mp4": b"no video"}
        for name, content in videos.items():
            bucket.put_object(Bucket="lab", Key=f"videos/{name}", Body=content)
        deployment = cluster.deployment("extract/extract")
        environment = {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "{{ prefect.blocks.secret.lab-key }}",
            "AWS_SECRET_ACCESS_KEY": "{{ prefect.blocks.secret.lab-secret }}",
        }
        variables = {**deployment["job_variables"], "env": environment}
        cluster.api(f"/deployments/{deployment['id']}", {"job_variables": variables}, method="PATCH")
        run = cluster.launch("extract/extract", source="s3://lab/videos", store="s3://lab/store")
        state = cluster.ended(run)
        assert state["name"] == "Completed with failures", state["message"]
        keys = [each["Key"] for each in bucket.list_objects_v2(Bucket="lab")["Contents"]]
        written = {key: bucket.get_object(Bucket="lab", Key=key)["Body"].read() for key in keys}
    assert "store/features/wide2d.random/shard-00000.h5" in written
    states = cluster.api(f"/flow_run_states/?flow_run_id={run}")
    said = [cluster.run(run), states, cluster.log(run), cluster.task_runs(run), cluster.artifacts(run)]
    assert all(said)
    written["the server's answers"] = json.dumps(said).encode()
    assert not [name for name, content in written.items() if shows_secret(content)]
    files = [path for path in cluster.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if shows_secret(path.read_bytes())], "nor do logs, caches and the database"


def shows_secret(content: bytes) -> bool:
    return any(secret.encode() in content for secret in (KEY, SECRET))


def prefect(cluster: OwnServer, *arguments: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=cluster.folder,
        env=cluster.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
