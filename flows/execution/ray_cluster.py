"""The connection to a Ray cluster, and its workers."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from reeldex.errors import InfrastructureError, PermanentFaultError, UsageError
from reeldex.flows.config.execution import AUTO, OF_THIS_RUN
from reeldex.flows.execution.errors import InternalError
from reeldex.flows.execution.head_watch import HeadWatch
from reeldex.flows.execution.messages import Failure, Message
from reeldex.flows.execution.remote_worker import RemoteWorker, WorkerFacts
from reeldex.flows.execution.shares import ClusterNode, Share
from reeldex.garbage_collection import GARBAGE_COLLECTION_OFF

if TYPE_CHECKING:
    from reeldex.flows.execution.jobs import Job

log = logging.getLogger(__name__)

NAMESPACE = "reeldex"
"""Of the names of actors."""
CONNECT_SECONDS = 10.0
"""How long is waited for the other side of a connection, and for its end."""
# How often is looked whether the head node is lost, while a worker says nothing.
_LOOK_SECONDS = 2.0
_REMEDY = (
    "Start one with `ray start --head`, or name its head node with --ray-address HOST:PORT. This machine has to be a "
    "node of it, with the same releases of Ray and Python, and with its token if it asks for one (RAY_AUTH_TOKEN)."
)
# Only messages pass through Ray; its default is a third of the memory.
_OBJECT_STORE_BYTES = 128 << 20


@contextmanager
def ray_cluster(address: str) -> Iterator[RayCluster]:
    """Connect to the Ray cluster at `address` for the duration of a block. Raises UsageError if that is not possible.

    A program that is connected already stays so; its cluster is used.
    """
    ray = ray_module()
    connected_before = ray.is_initialized()
    if not connected_before:
        _connect(ray, address)
    watch = HeadWatch(ray.get_runtime_context().gcs_address)
    try:
        yield RayCluster(ray, watch)
    finally:
        # Without the head node, Ray would wait for it.
        if not connected_before and not watch.is_lost:
            # Ray ends the process with status 1 when a reference to one of its objects is deleted, in any thread, after
            # its core worker has shut down and before `ray.shutdown` has dropped it. Tracebacks leave such in cycles.
            with GARBAGE_COLLECTION_OFF:
                ray.shutdown()
        elif not connected_before:
            atexit.register(gc.disable)  # Ray shuts down at the exit of this process, after this handler
        watch.close()


class RayCluster:
    """The cluster to which this process is connected."""

    def __init__(self, ray: ModuleType, head: HeadWatch) -> None:
        self._ray, self._head = ray, head

    def nodes(self) -> list[ClusterNode]:
        """Return the nodes that are alive. Raises InfrastructureError if the head node does not answer."""
        self._head.wait_for_answer()
        try:
            found = self._ray.nodes()
        except (self._ray.exceptions.RayError, ConnectionError, RuntimeError) as error:
            raise InfrastructureError(
                f"The head node of the Ray cluster does not answer ({type(error).__name__}: {error}). Finished work is "
                "kept; run it again once the cluster is back."
            ) from error
        return [
            ClusterNode(
                node["NodeID"],
                node.get("NodeName") or node["NodeManagerAddress"],
                node["Resources"].get("CPU", 0.0),
                node["Resources"].get("GPU", 0.0),
                node["Resources"].get("memory", 0.0),
            )
            for node in found
            if node["Alive"]
        ]

    def start(self, share: Share) -> RayWorker:
        """Start a worker on its share of a node; Ray waits until no other program uses it."""
        return RayWorker(self._ray, share, self._head)


class RayWorker:
    """An actor: a process on a node of the cluster, which ends with this process at the latest."""

    def __init__(self, ray: ModuleType, share: Share, head: HeadWatch) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.share = share
        self._ray, self._head = ray, head
        self._actor = (
            ray.remote(RemoteWorker)
            .options(
                num_cpus=share.cpus,
                num_gpus=share.gpus,
                memory=share.memory_bytes or None,
                max_restarts=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(share.node.id, soft=False),
            )
            .remote(share.index, share.cpus)
        )
        self._facts = self._actor.facts.remote()

    def when_started(self, action: Callable[[RayWorker, WorkerFacts | Exception], None]) -> None:
        """Call `action` in another thread with the facts of the worker once it has started, or with its error."""

        def done(future: Any) -> None:  # noqa: ANN401 - concurrent.futures.Future of anything
            error = future.exception()
            action(self, self._start_error(error) if isinstance(error, Exception) else future.result())

        self._facts.future().add_done_callback(done)

    def messages(self, job: Job) -> Iterator[Message]:
        """Run a job, and yield its messages. Raises InfrastructureError when the worker or its node dies.

        PermanentFaultError when the head node is lost, InternalError when the worker cannot read the job or its answer
        cannot be read.
        """
        exceptions = self._ray.exceptions
        try:
            batches = self._actor.run.options(num_returns="streaming").remote(job, self.share.device)
            while True:
                self._head.require()
                ready, _ = self._ray.wait([batches], timeout=_LOOK_SECONDS, fetch_local=False)
                if ready:
                    yield from map(self._located, self._ray.get(next(batches)))
        except StopIteration:
            return
        except exceptions.RayTaskError as error:
            raise InternalError(f"On {self.share.node.name}: {error}") from error
        except exceptions.RayError as error:
            self._head.require()
            raise InfrastructureError(f"{self._how_it_died(error)} Finished work is kept.") from error

    def kill(self) -> None:
        """Kill the process and its children, which follow it. Without a head node, they end with this process."""
        if self._head.is_lost:
            return
        self._ray.kill(self._actor, no_restart=True)

    def _located(self, message: Message) -> Message:
        """Return a message, with the name of the node in an error."""
        if isinstance(message, Failure):
            # Not a new error: each class has its own arguments.
            message.error.args = (f"On {self.share.node.name}: {message.error}",)
        return message

    def _start_error(self, error: Exception) -> Exception:
        text = str(error)
        if "No module named 'reeldex" in text:
            return UsageError(
                f"reeldex is not installed on {self.share.node.name}, in the Python that runs Ray there. Run "
                "`pip install -e '.[ray]'` in the same checkout on every node."
            )
        if isinstance(error, self._ray.exceptions.RayTaskError) or "error raised in its creation task" in text:
            return UsageError(f"A worker cannot start on {self.share.node.name}: {text}")
        try:
            return InfrastructureError(self._how_it_died(error))
        except PermanentFaultError as lost:
            return lost

    def _node_is_dead(self) -> bool:
        """Whether the worker's node is known to be dead: a head node that does not answer says nothing about others.

        Raises PermanentFaultError when the head node is lost.
        """
        try:
            nodes = RayCluster(self._ray, self._head).nodes()
        except PermanentFaultError:
            raise
        except InfrastructureError:
            return False
        return all(node.id != self.share.node.id for node in nodes)

    def _how_it_died(self, error: Exception) -> str:
        """Return what became of the worker. Raises PermanentFaultError when the head node is lost."""
        if isinstance(error, self._ray.exceptions.OutOfMemoryError):
            return f"The {self.share.name} was killed by Ray, since the memory of its node was almost full."
        if self._node_is_dead():
            return f"The node {self.share.node.name} died: it was shut down, has lost power or cannot be reached."
        detail = str(error).partition("Worker exit detail: ")[2].partition(". Some common causes")[0]
        return f"The {self.share.name} died{f': {detail}' if detail else f' ({type(error).__name__})'}."


def ray_module() -> ModuleType:
    """Return the package ray, which starts nothing by itself. Raises UsageError if it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Or a call after the connection has ended, as by a thread that ends later, would start a cluster on this machine.
    # Ray reads it when it is imported: a program that has done so keeps what it has chosen.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise UsageError(
            "The engine ray needs the package ray, which is not installed here. Run `pip install -e '.[ray]'` in "
            "reeldex's checkout on every node; or use --engine local."
        ) from error
    return ray


def _connect(ray: ModuleType, address: str) -> None:
    settings: dict[str, Any] = {"address": address}
    if address == OF_THIS_RUN:
        settings |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    elif address != AUTO:
        _require_answer(address)
    # Ray prints what happens to workers to standard output, which holds the answers of commands.
    ray._private.worker._worker_logs_enabled = False  # noqa: SLF001 - Ray has no public setting for it
    try:
        with _own_signals():
            ray.init(namespace=NAMESPACE, log_to_driver=False, configure_logging=False, **settings)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        why = str(error).strip().rstrip(".") or type(error).__name__
        raise UsageError(f"There is no usable Ray cluster at the address {address!r}: {why}. {_REMEDY}") from error


def _require_answer(address: str) -> None:
    """Raise UsageError if nothing answers there, for which Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS):
            return
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"No Ray cluster answers at {address} ({error}). `ray start --head` prints the address of its head node."
        ) from error


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's handler of SIGTERM, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
