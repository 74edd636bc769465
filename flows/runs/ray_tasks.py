"""Prefect tasks in processes of Ray, through prefect-ray: each asks the process of its flow run for its shard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from prefect.events.worker import EventsWorker
from prefect.runtime import flow_run

from reeldex.errors import UsageError

if TYPE_CHECKING:
    from prefect import Task
    from prefect.futures import PrefectFuture

    from reeldex.flows.runs.shard_attempts import MakeAttempt, ShardAttempt, SubmitTask

_SEND_SECONDS = 10.0


def require_prefect_ray() -> None:
    """Raise UsageError if prefect-ray is not installed."""
    if find_spec("prefect_ray") is None:
        raise UsageError(
            "execution.task_runner: ray needs the package prefect-ray, which is not installed here. Run "
            "`pip install -e '.[prefect-ray]'` in reeldex's checkout, or use the task runner threads."
        )


@contextmanager
def in_ray(attempts: MakeAttempt, at_once: int) -> Iterator[SubmitTask]:
    """Run tasks in processes of Ray on this machine, as `RunTasks` says. Requires a connection to Ray."""
    from prefect_ray import RayTaskRunner
    from prefect_ray.context import remote_options

    from reeldex.flows.execution.ray_requests import answering

    with (
        answering(_name(), attempts, at_once) as asker,
        remote_options(**asker.options),
        RayTaskRunner() as runner,
    ):

        def submit(task: Task[..., Any], parameters: dict[str, Any]) -> PrefectFuture[Any]:
            asker.wait_for_head()
            sending = task.with_options(on_completion=[_send_state], on_failure=[_send_state])
            future: PrefectFuture[Any] = runner.submit(sending, parameters)
            return future

        yield submit


def ask_flow_run(attempt: ShardAttempt) -> Any:  # noqa: ANN401 - as the job's
    """Return the result of an attempt that the process of this task's flow run makes, or raise its error."""
    from reeldex.flows.execution.ray_requests import ask

    return ask(_name(), attempt)


def _name() -> str:
    """Return the name under which this attempt of the flow run answers: after Retry, another process does."""
    return f"flow-run-{flow_run.id}-{flow_run.run_count}"


def _send_state(_task: object, _task_run: object, _state: object) -> None:
    """Send the final state of a task now: Ray may kill its process as soon as the flow run has the result."""
    EventsWorker.drain_all(timeout=_SEND_SECONDS, at_exit=False)
