"""Workers that cannot start, on a cluster made up for it: two releases cannot be installed here at the same time."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reeldex.errors import InfrastructureError, PermanentFaultError, UsageError
from reeldex.flows.config.execution import ExecutionConfig
from reeldex.flows.execution import cluster_workers
from reeldex.flows.execution.cluster_workers import ClusterWorkers
from reeldex.flows.execution.errors import RunStoppedError
from reeldex.flows.execution.jobs import Job
from reeldex.flows.execution.messages import Message, ProgressEvent, Result
from reeldex.flows.execution.remote_worker import WorkerFacts
from reeldex.flows.execution.shares import ClusterNode, Share
from tests.flows.execution.ray_jobs import ClusterJob


class MadeUpCluster:
    """A cluster whose workers start with these facts or errors, the last one again and again."""

    def __init__(self, *found: WorkerFacts | Exception, nodes: int = 1) -> None:
        self.found = list(found)
        self.started: list[Share] = []
        self.alive = [ClusterNode(f"id {number}", f"node{number}", 1, 0, 1e9) for number in range(nodes)]

    def nodes(self) -> list[ClusterNode]:
        return self.alive

    def start(self, share: Share) -> MadeUpWorker:
        self.started.append(share)
        return MadeUpWorker(self, share, self.found.pop(0) if len(self.found) > 1 else self.found[0])


class MadeUpWorker:
    def __init__(self, cluster: MadeUpCluster, share: Share, found: WorkerFacts | Exception) -> None:
        self.share = share
        self._cluster = cluster
        self._found = found

    def when_started(self, action: Callable[[Any, WorkerFacts | Exception], None]) -> None:
        action(self, self._found)

    def messages(self, job: Job) -> Iterator[Message]:
        if self.share.node not in self._cluster.alive:
            raise DEAD
        yield ProgressEvent(job.number)
        yield Result(self.share.name)

    def kill(self) -> None:
        pass


HERE = WorkerFacts.here()
DEAD = InfrastructureError("The node node0 died.")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_workers, "_LOOK_SECONDS", 0.01)


def workers(cluster: MadeUpCluster, **options: Any) -> ClusterWorkers:  # noqa: ANN401
    return ClusterWorkers(cluster, ExecutionConfig(**options), "auto")


def job(tmp_path: Path) -> ClusterJob:
    return ClusterJob(7, tmp_path / "job")


def test_another_release_on_a_node_ends_the_run_and_is_named(tmp_path: Path) -> None:
    other = dataclasses.replace(HERE, reeldex="0.0.1")
    with pytest.raises(UsageError, match=r"node0 has reeldex 0\.0\.1, and .* is used here"):
        workers(MadeUpCluster(other)).run(job(tmp_path), lambda _: None)


def test_a_worker_that_does_not_start_is_replaced(tmp_path: Path) -> None:
    cluster = MadeUpCluster(DEAD, DEAD, HERE)
    events: list[object] = []
    assert workers(cluster).run(job(tmp_path), events.append) == "node0 worker 0"
    assert len(cluster.started) == 3
    assert 7 in events


def test_a_job_fails_when_no_worker_ever_starts(tmp_path: Path) -> None:
    cluster = MadeUpCluster(DEAD)
    made = workers(cluster)
    for _ in range(2):
        with pytest.raises(InfrastructureError, match="No worker of the cluster starts"):
            made.run(job(tmp_path), lambda _: None)
    assert len(cluster.started) == 2 * 3


def test_a_job_fails_when_no_node_is_left_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_workers, "_PATIENCE_SECONDS", 0.05)
    cluster = MadeUpCluster(DEAD)
    made = workers(cluster)
    cluster.alive = []
    with pytest.raises(InfrastructureError, match="No node of the cluster that could run a worker"):
        made.run(job(tmp_path), lambda _: None)


def test_nodes_that_are_lost_after_hours_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = MadeUpCluster(HERE)
    made = workers(cluster)
    (node,), cluster.alive = cluster.alive, []
    asked: list[int] = []

    def nodes() -> list[ClusterNode]:
        asked.append(len(cluster.started))
        cluster.alive = [node] if len(asked) > 3 else []
        return cluster.alive

    monkeypatch.setattr(cluster, "nodes", nodes)
    began = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 7200)
    with pytest.raises(InfrastructureError, match="node0 died"):
        made.run(job(tmp_path), lambda _: None)
    assert made.run(job(tmp_path), lambda _: None) == "node0 worker 0"
    assert len(asked) > 3
    assert time.monotonic() - began > 7200


@pytest.mark.parametrize("is_lost", [False, True])
def test_stopping_does_not_wait_for_a_head_node_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_lost: bool
) -> None:
    cluster = MadeUpCluster(DEAD, HERE)
    made = workers(cluster)
    asked, answers, ends = threading.Event(), threading.Event(), list[Exception]()

    def nodes() -> list[ClusterNode]:
        asked.set()
        answers.wait(60)
        if is_lost:
            raise PermanentFaultError("The head node of the Ray cluster has not answered.")
        return cluster.alive

    def run() -> None:
        try:
            made.run(job(tmp_path), lambda _: None)
        except RunStoppedError as error:
            ends.append(error)

    monkeypatch.setattr(cluster, "nodes", nodes)
    runner, stopper = threading.Thread(target=run), threading.Thread(target=made.stop)
    runner.start()
    assert asked.wait(60)
    stopper.start()
    stopper.join(10)
    is_stopped = not stopper.is_alive()
    answers.set()
    runner.join(60)
    assert is_stopped
    assert len(ends) == 1
    assert len(cluster.started) == 1, "what was stopped starts no worker"


def test_a_cluster_that_loses_its_gpus_does_not_go_on_with_its_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_workers, "_PATIENCE_SECONDS", 0.05)
    cluster = MadeUpCluster(HERE, nodes=2)
    cluster.alive[0] = dataclasses.replace(cluster.alive[0], gpus=1)
    made = workers(cluster)
    assert made.count == 1
    assert made.run(job(tmp_path), lambda _: None) == "node0 worker 0"
    cluster.alive = cluster.alive[1:]
    for error in ("The node node0 died", "No node of the cluster"):
        with pytest.raises(InfrastructureError, match=error):
            made.run(job(tmp_path), lambda _: None)
    assert {share.node.name for share in cluster.started} == {"node0"}
