"""The workers of a run on a cluster: as many as its nodes have room for; what dies is replaced on nodes that live."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from reeldex.errors import InfrastructureError, UsageError, UserError
from reeldex.flows.execution.errors import RunStoppedError
from reeldex.flows.execution.jobs import Job, JobStarted, JobStopped, MovableJob, OnEvent
from reeldex.flows.execution.logs import replay
from reeldex.flows.execution.messages import Failure, LogEvent, ProgressEvent, Result
from reeldex.flows.execution.remote_worker import WorkerFacts
from reeldex.flows.execution.shares import ClusterNode, Share, no_room, shares_of
from reeldex.quantities import counted, duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from reeldex.flows.config.execution import ExecutionConfig
    from reeldex.flows.execution.messages import Message

log = logging.getLogger(__name__)

_STOPPED = "The run was stopped. Finished work is kept; run it again to continue."
# How often lost workers are replaced, if a node has room for them again, and how often what a job waits for is logged.
_LOOK_SECONDS = 5.0
_REPORT_SECONDS = 60.0
# For how long a job waits while no node is left that could run it.
_PATIENCE_SECONDS = 300.0
# As many workers in a row, and at least as many as the run has, may fail to start before a job fails for it.
_FAILED_STARTS = 3


class ClusterWorker(Protocol):
    """A process on a node of a cluster."""

    share: Share

    def when_started(self, action: Callable[[Any, WorkerFacts | Exception], None]) -> None:
        """Call `action` with the worker and its facts once it has started, or with its error."""

    def messages(self, job: Job) -> Iterator[Message]:
        """Run a job, and yield its messages. Raises InfrastructureError when the worker dies."""

    def kill(self) -> None:
        """Kill the process and its children."""


class Cluster(Protocol):
    """A cluster to which this process is connected."""

    def nodes(self) -> Sequence[ClusterNode]:
        """Return the nodes that are alive."""

    def start(self, share: Share) -> ClusterWorker:
        """Start a worker on its share of a node."""


@contextmanager
def cluster_workers(execution: ExecutionConfig, devices: str) -> Iterator[ClusterWorkers]:
    """Return workers on the Ray cluster of the configuration, which end with the block. Raises UsageError."""
    from reeldex.flows.execution.ray_cluster import ray_cluster

    with ray_cluster(execution.address) as cluster:
        workers = ClusterWorkers(cluster, execution, devices)
        try:
            yield workers
        finally:
            workers.stop()


def require_workers(execution: ExecutionConfig, devices: str) -> None:
    """Raise UsageError if there is no Ray cluster as configured, or none of its nodes has room for a worker."""
    from reeldex.flows.execution.ray_cluster import ray_cluster

    with ray_cluster(execution.address) as cluster:
        nodes = cluster.nodes()
        if not shares_of(nodes, execution, devices):
            raise no_room(nodes, execution, devices)


class ClusterWorkers:
    """Workers on the nodes of a cluster, each of which keeps its networks loaded and takes one job at a time.

    A worker that dies is replaced, on another node if its own is gone. Raises UsageError if no node has room for one.
    """

    def __init__(self, cluster: Cluster, execution: ExecutionConfig, devices: str) -> None:
        self._cluster = cluster
        self._execution = execution
        self._devices = devices
        self._changed = threading.Condition()
        self._workers: dict[tuple[str, int], ClusterWorker] = {}
        self._idle: deque[ClusterWorker] = deque()
        self._refused: UserError | None = None
        self._stopped = False
        self._failed_starts = 0  # since one succeeded
        self._looked = self._alive = time.monotonic()
        nodes = cluster.nodes()
        shares = shares_of(nodes, execution, devices)
        if not shares:
            raise no_room(nodes, execution, devices)
        self.count = len(shares)
        _log_shares(nodes, shares)
        with self._changed:
            self._start(shares)

    def run(self, job: Job, on_event: OnEvent) -> Any:  # noqa: ANN401 - as the job is
        """Return the result of a job, run by a free worker, as `Workers.run` does."""
        worker = self._lend()
        on_event(JobStarted(job.number, worker.share.name))
        try:
            answer = self._answer(worker, job, on_event)
            if isinstance(answer, Result):
                return answer.value
            if isinstance(answer.error, InfrastructureError):
                self._discard(worker)  # state that it leaves behind, such as a lost device, ends with the process
            raise answer.error
        finally:
            on_event(JobStopped(job.number))
            self._give_back(worker)

    def stop(self) -> None:
        """End all workers. Waiting for one, or using one, then raises RunStoppedError."""
        with self._changed:
            self._stopped = True
            workers, self._workers = list(self._workers.values()), {}
            self._idle.clear()
            self._changed.notify_all()
        for worker in workers:
            worker.kill()

    def pause(self, seconds: float) -> None:
        """Sleep. Raises RunStoppedError as soon as the workers are stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, timeout=seconds)
        self._refuse_if_stopped()

    def _answer(self, worker: ClusterWorker, job: Job, on_event: OnEvent) -> Result | Failure:
        try:
            return _answer(worker, job, on_event)
        except BaseException:
            self._discard(worker)  # the job may still run there
            self._refuse_if_stopped()
            raise

    def _refuse_if_stopped(self) -> None:
        if self._stopped:
            raise RunStoppedError(_STOPPED)

    def _lend(self) -> ClusterWorker:
        """Return an idle worker, waiting for one. Raises RunStoppedError, UserError, InfrastructureError."""
        reported = time.monotonic()
        while True:
            with self._changed:
                self._refuse_if_stopped()
                if self._refused is not None:
                    raise UsageError(str(self._refused))
                if self._idle:
                    return self._idle.popleft()
                looks = self._is_to_look()
                if not looks:
                    if time.monotonic() - reported >= _REPORT_SECONDS:
                        reported = time.monotonic()
                        self._report_wait()
                    self._changed.wait(_LOOK_SECONDS)
            if looks:
                self._replace_lost(self._nodes())

    def _nodes(self) -> Sequence[ClusterNode]:
        """Return the nodes that are alive. Not with the lock: a head node is waited for, and `stop` is not to wait."""
        try:
            return self._cluster.nodes()
        except InfrastructureError:
            self._refuse_if_stopped()
            raise

    def _give_back(self, worker: ClusterWorker) -> None:
        with self._changed:
            if self._workers.get(worker.share.key) is worker:
                self._idle.append(worker)
                self._changed.notify_all()

    def _discard(self, worker: ClusterWorker) -> None:
        with self._changed:
            if self._workers.get(worker.share.key) is worker:
                self._forget(worker)
            self._looked = 0.0
            self._changed.notify_all()
        worker.kill()

    def _forget(self, worker: ClusterWorker) -> None:
        """Count a worker no longer; until now, its node was alive. Requires the lock."""
        del self._workers[worker.share.key]
        self._alive = time.monotonic()

    def _start(self, shares: Sequence[Share]) -> None:
        for share in shares:
            self._workers[share.key] = worker = self._cluster.start(share)
            worker.when_started(self._started)

    def _started(self, worker: ClusterWorker, found: WorkerFacts | Exception) -> None:
        with self._changed:
            if self._stopped or self._workers.get(worker.share.key) is not worker:
                return
            if isinstance(found, WorkerFacts):
                found = _difference(worker, found) or found
            if isinstance(found, UserError):
                self._refused = found
            elif isinstance(found, Exception):
                self._forget(worker)
                self._failed_starts += 1
                log.warning("%s", found)
            else:
                self._failed_starts = 0
                # A cluster that loses its GPUs does not go on with its CPUs, whose rows differ.
                self._devices = "cpu" if worker.share.device == "cpu" else "cuda"
                self._idle.append(worker)
            self._changed.notify_all()

    def _is_to_look(self) -> bool:
        """Whether workers are lacking, and it is time to look for nodes that have room for them. Requires the lock."""
        if len(self._workers) >= self.count or time.monotonic() - self._looked < _LOOK_SECONDS:
            return False
        self._looked = time.monotonic()
        if self._failed_starts >= max(_FAILED_STARTS, self.count):
            self._failed_starts = 0
            raise InfrastructureError("No worker of the cluster starts; the log says why. Finished work is kept.")
        return True

    def _replace_lost(self, nodes: Sequence[ClusterNode]) -> None:
        """Start workers where nodes have room, until there are as many as at first."""
        with self._changed:
            self._refuse_if_stopped()
            shares = shares_of(nodes, self._execution, self._devices)
            lacking = [share for share in shares if share.key not in self._workers]
            self._start(lacking[: self.count - len(self._workers)])
            if self._workers:
                self._alive = time.monotonic()
            elif time.monotonic() - self._alive > _PATIENCE_SECONDS:
                raise InfrastructureError(
                    f"No node of the cluster that could run a worker has been alive for {duration(_PATIENCE_SECONDS)}. "
                    "Finished work is kept; run it again once the nodes are back."
                )

    def _report_wait(self) -> None:
        if self._workers:
            log.warning("Waiting for a worker: other programs of the cluster use the nodes, or workers are starting")
        else:
            log.warning("Waiting for a node: none is alive that could run a worker")


def _answer(worker: ClusterWorker, job: Job, on_event: OnEvent) -> Result | Failure:
    moved = job.for_another_machine() if isinstance(job, MovableJob) else job
    for message in worker.messages(moved):
        match message:
            case ProgressEvent(event):
                on_event(event)
            case LogEvent(record):
                record.msg, record.args = f"{worker.share.name}: {record.getMessage()}", ()
                replay(record)
            case Result() | Failure():
                return message
    raise InfrastructureError(f"The {worker.share.name} ended without an answer. Finished work is kept.")


def _difference(worker: ClusterWorker, found: WorkerFacts) -> UsageError | None:
    """Return what is wrong with a worker's software, if anything."""
    here = WorkerFacts.here()
    if found.reeldex == here.reeldex:
        return None
    return UsageError(
        f"{worker.share.node.name} has reeldex {found.reeldex}, and {here.reeldex} is used here. Install the same "
        "version on every node."
    )


def _log_shares(nodes: Sequence[ClusterNode], shares: Sequence[Share]) -> None:
    used = {share.node.id for share in shares}
    log.info(
        "The cluster has %s; %s on %s of them, such as %s with %s",
        counted(len(nodes), "node"),
        counted(len(shares), "worker"),
        len(used),
        shares[0].name,
        shares[0],
    )
    idle = [node.name for node in nodes if node.id not in used and node.cpus]
    if idle:
        log.info("Nodes without a worker: %s", ", ".join(idle))
