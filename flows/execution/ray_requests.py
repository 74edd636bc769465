"""Requests of tasks of Ray, which the process that is connected to the cluster answers."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from reeldex.flows.execution.errors import RunStoppedError, as_our_error
from reeldex.flows.execution.messages import Failure, Result
from reeldex.flows.execution.ray_cluster import CONNECT_SECONDS, NAMESPACE, ray_module
from reeldex.flows.execution.request_queue import RequestQueue


@contextmanager
def answering(name: str, answer: Callable[[Any], Any], at_once: int) -> Iterator[dict[str, Any]]:
    """Answer what processes of the cluster ask under a name (`ask`), `at_once` of them at a time, during the block.

    `answer` returns the answer or raises, in threads of this process. Yields Ray's options for tasks that ask: they use
    no CPUs, stay on this machine, and are not repeated. Requires a connection to Ray (`ray_cluster`).
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray = ray_module()
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    placed = {"num_cpus": 0, "scheduling_strategy": here}
    # Each worker has a task that asks, and a thread that answers it.
    options = {"name": name, "max_restarts": 0, "max_concurrency": 2 * at_once + 2, **placed}
    queue = ray.remote(RequestQueue).options(**options).remote()

    def answer_all() -> None:
        while (taken := ray.get(queue.take.remote())) is not None:
            number, request = taken
            ray.get(queue.answer.remote(number, _message_of(answer, request)))

    # Their log records are those of this run: what tells so is in the context.
    contexts = [contextvars.copy_context() for _ in range(at_once)]
    threads = [threading.Thread(target=each.run, args=(answer_all,), name="answer", daemon=True) for each in contexts]
    for thread in threads:
        thread.start()
    try:
        yield {**placed, "max_retries": 0}
    finally:
        # Not killed, which needs the head node: it ends with the last reference to it.
        with suppress(ray.exceptions.RayError):
            ray.get(queue.close.remote(), timeout=CONNECT_SECONDS)
        for thread in threads:
            thread.join(CONNECT_SECONDS)


def ask(name: str, request: Any) -> Any:  # noqa: ANN401 - what the two processes agree on
    """Return the answer of the process that answers under this name, or raise its error. For tasks of Ray.

    Raises RunStoppedError if that process has ended.
    """
    ray = ray_module()
    try:
        found = ray.get(ray.get_actor(name, namespace=NAMESPACE).ask.remote(request))
    except (ValueError, ray.exceptions.RayActorError) as error:
        raise RunStoppedError("The run has ended, or was stopped. Finished work is kept.") from error
    if isinstance(found, Failure):
        raise found.error
    return found.value


def _message_of(answer: Callable[[Any], Any], request: Any) -> Result | Failure:  # noqa: ANN401
    try:
        return Result(answer(request))
    except Exception as error:  # noqa: BLE001 - it is raised where the request was made
        return Failure(as_our_error(error))
