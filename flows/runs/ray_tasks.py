"""Prefect tasks in processes of Ray, through prefect-ray: each asks the process of its flow run for its shard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prefect.runtime import flow_run

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner

    from reeldex.flows.runs.shard_attempts import MakeAttempt, ShardAttempt


@contextmanager
def in_ray(attempts: MakeAttempt, at_once: int) -> Iterator[TaskRunner[Any]]:
    """Run tasks in processes of Ray on this machine, as `RunTasks` says. Requires a connection to Ray."""
    from prefect_ray import RayTaskRunner
    from prefect_ray.context import remote_options

    from reeldex.flows.execution.ray_requests import answering

    with answering(_name(), attempts, at_once) as options, remote_options(**options), RayTaskRunner() as runner:
        yield runner


def ask_flow_run(attempt: ShardAttempt) -> Any:  # noqa: ANN401 - as the job's
    """Return the result of an attempt that the process of this task's flow run makes, or raise its error."""
    from reeldex.flows.execution.ray_requests import ask

    return ask(_name(), attempt)


def _name() -> str:
    """Return the name under which this attempt of the flow run answers: after Retry, another process does."""
    return f"flow-run-{flow_run.id}-{flow_run.run_count}"
