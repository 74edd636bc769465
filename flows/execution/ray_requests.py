"""Requests of tasks of Ray, which the process that is connected to the cluster answers."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from reeldex.errors import PermanentFaultError
from reeldex.flows.execution.errors import InternalError, as_our_error
from reeldex.flows.execution.head_watch import HeadWatch
from reeldex.flows.execution.messages import Failure, Result
from reeldex.flows.execution.ray_cluster import CONNECT_SECONDS, NAMESPACE, ray_module
from reeldex.flows.execution.request_queue import RequestQueue

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AskerOptions:
    """How tasks that ask are submitted.

    - `options` are Ray's options for them: they use no CPUs, stay on this machine, and are not repeated.
    - `wait_for_head` is to be called before one is submitted, as `HeadWatch.wait_for_answer`.
    """

    options: Mapping[str, Any]
    wait_for_head: Callable[[], None]


@contextmanager
def answering(name: str, answer: Callable[[Any], Any], at_once: int) -> Iterator[AskerOptions]:
    """Answer what tasks of Ray ask under a name (`ask`), `at_once` of them at a time, during the block.

    `answer` returns the answer or raises, in threads of this process. Requires a connection to Ray (`ray_cluster`).
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray = ray_module()
    context = ray.get_runtime_context()
    placed = {
        "num_cpus": 0,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(context.get_node_id(), soft=False),
    }
    # Each worker has a task that asks, and a thread that answers it.
    queue = _queue(ray, {"name": name, "namespace": NAMESPACE, "max_concurrency": 2 * at_once + 2, **placed})

    ending = threading.Event()

    def answer_all() -> None:
        try:
            while (taken := ray.get(queue.take.remote())) is not None:
                _answer(ray, queue, taken[0], _message_of(answer, taken[1]))
        except ray.exceptions.RayError as error:
            if not ending.is_set():  # tasks that ask meet the same error
                log.warning("The requests of tasks of Ray cannot be read: %s: %s", type(error).__name__, error)

    # Their log records are those of this run: what tells so is in the context.
    contexts = [contextvars.copy_context() for _ in range(at_once)]
    threads = [threading.Thread(target=each.run, args=(answer_all,), name="answer", daemon=True) for each in contexts]
    for thread in threads:
        thread.start()
    head = HeadWatch(context.gcs_address)
    try:
        yield AskerOptions({**placed, "max_retries": 0}, head.wait_for_answer)
    finally:
        ending.set()
        head.close()
        # Not killed, which needs the head node: it ends with the last reference to it.
        with suppress(ray.exceptions.RayError):
            ray.get(queue.close.remote(), timeout=CONNECT_SECONDS)
        deadline = time.monotonic() + CONNECT_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def ask(name: str, request: Any) -> Any:  # noqa: ANN401 - what the two processes agree on
    """Return the answer of the process that answers under this name, or raise its error. For tasks of Ray.

    Raises RunStoppedError if it answers no more, PermanentFaultError if it cannot be asked.
    """
    ray = ray_module()
    try:
        found = ray.get(ray.get_actor(name, namespace=NAMESPACE).ask.remote(request))
    except (ValueError, ray.exceptions.RayError) as error:
        raise PermanentFaultError(
            "A task of Ray cannot ask the process of its run: the actor between them, or the head node, does not "
            f"answer ({type(error).__name__}: {error}). Finished work is kept; run it again."
        ) from error
    if isinstance(found, Failure):
        raise found.error
    return found.value


def _queue(ray: ModuleType, options: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a handle of Ray
    """Start the actor; one of this name, from an earlier block of this process, may still be ending."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            return ray.remote(RequestQueue).options(max_restarts=0, **options).remote()
        except ray.exceptions.ActorAlreadyExistsError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _answer(ray: ModuleType, queue: Any, number: int, message: Result | Failure) -> None:  # noqa: ANN401
    try:
        ray.get(queue.answer.remote(number, message))
    except Exception as error:  # noqa: BLE001 - it is sent to the task, which would wait for ever
        why = f"An answer cannot be sent to its task: {type(error).__name__}: {error}"
        ray.get(queue.answer.remote(number, Failure(InternalError(why))))


def _message_of(answer: Callable[[Any], Any], request: Any) -> Result | Failure:  # noqa: ANN401
    try:
        return Result(answer(request))
    except Exception as error:  # noqa: BLE001 - it is raised where the request was made
        return Failure(as_our_error(error))
    except BaseException as error:  # noqa: BLE001 - as a library's sys.exit; whoever asked would wait forever
        return Failure(InternalError(f"A request ended its thread: {error!r}"))
