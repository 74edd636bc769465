"""An executor that runs shards as Prefect tasks, one task per shard."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.futures import wait
from prefect.task_runners import ThreadPoolTaskRunner

from reeldex.errors import InfrastructureError, ReeldexError
from reeldex.flows.config.execution import Engine, ExecutionConfig, TaskRunnerName
from reeldex.flows.execution.fault_limit import FaultLimit, run_until_fault
from reeldex.flows.runs.shard_attempts import ShardAttempts, SubmitTask, attempts_made_by
from reeldex.flows.runs.tasks import extract_shard

if TYPE_CHECKING:
    from prefect import Task
    from prefect.futures import PrefectFuture

    from reeldex.flows.execution.jobs import OnEvent, OpenWorkers
    from reeldex.flows.execution.retries import RetryRule
    from reeldex.flows.extraction.shard_job import ShardJob


RunTasks = Callable[[ShardAttempts, int], "AbstractContextManager[SubmitTask]"]
"""Opens what runs so many tasks at a time, which ask these attempts for their results."""

# How long a run that is stopped waits until its tasks have reported it.
_END_SECONDS = 10.0


def task_runner_of(execution: ExecutionConfig) -> RunTasks:
    """Return what runs the tasks of shards: `execution.task_runner` of the configuration."""
    if execution.engine is Engine.RAY and execution.task_runner is TaskRunnerName.RAY:
        from reeldex.flows.runs.ray_tasks import in_ray

        return in_ray
    return in_threads


def require_task_runner(execution: ExecutionConfig) -> None:
    """Raise UsageError if what `task_runner_of` returns is not installed."""
    if task_runner_of(execution) is not in_threads:
        from reeldex.flows.runs.ray_tasks import require_prefect_ray

        require_prefect_ray()


@contextmanager
def in_threads(attempts: ShardAttempts, at_once: int) -> Iterator[SubmitTask]:
    """Run tasks in threads of this process."""
    threads: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(at_once)
    with threads as runner, attempts_made_by(attempts):
        yield runner.submit


class PrefectTasks:
    """Runs shards as tasks of the current flow run, on workers, which it opens for each call of `run`.

    Shards in `lacking` are processed regardless of persisted results; for other shards, results that
    an earlier attempt of this flow run persisted are reused. None of those did nothing (see `extract_shard`), and a
    shard without one was completed by others.
    """

    def __init__(self, open_workers: OpenWorkers, lacking: Collection[int], run_tasks: RunTasks = in_threads) -> None:
        self._open_workers, self._run_tasks = open_workers, run_tasks
        self._limit = FaultLimit()
        self._lacking = frozenset(lacking)

    def run(
        self, jobs: Sequence[ShardJob], devices: str, retries: RetryRule, on_event: OnEvent
    ) -> dict[int, Any | BaseException]:
        """Return the result or the error of each shard by its number, as `Executor.run` does."""
        with self._open_workers(devices) as workers:
            attempts = ShardAttempts(jobs, workers, on_event, retries)
            submitted: dict[UUID, tuple[int, PrefectFuture[Any]]] = {}
            with self._run_tasks(attempts, workers.count) as submit_task:

                def submit(job: ShardJob) -> PrefectFuture[Any]:
                    future = submit_task(self._task(job, retries), _parameters(job))
                    submitted[future.task_run_id] = (job.shard, future)
                    return future

                def result_of(future: PrefectFuture[Any]) -> Any:  # noqa: ANN401 - as the task's
                    shard, _ = submitted.pop(future.task_run_id)
                    return _result(future, attempts.errors.get(shard))

                try:
                    return run_until_fault(jobs, workers.count, submit, result_of, workers.stop, self._limit)
                except BaseException:
                    workers.stop()  # or the tasks would continue, and this block would wait for them
                    # Or those of Ray could not report their end.
                    wait([future for _, future in submitted.values()], _END_SECONDS)
                    raise

    def _task(self, job: ShardJob, retries: RetryRule) -> Task[..., Any]:
        return extract_shard.with_options(retries=retries.retries, refresh_cache=job.shard in self._lacking)


def _parameters(job: ShardJob) -> dict[str, Any]:
    return {
        "store": job.store,
        "shard": job.shard,
        "videos": job.videos,
        "spaces": job.spaces,
        "settings": job.config.model_dump(mode="json"),
        "retry": job.retry,
        "redo": job.redo,
    }


def _result(future: PrefectFuture[Any], error: BaseException | None) -> Any:  # noqa: ANN401 - as the task's
    """Return the result of a task that is done, or its `error`, as it was before it went to another process.

    A task that failed otherwise, as when its process died, is an InfrastructureError.
    """
    future.wait()  # makes a state of the death of a process of Ray, which `result` would raise
    found = future.result(raise_on_failure=False)
    if not isinstance(found, BaseException):
        return found
    if error is not None or isinstance(found, ReeldexError):
        return error or found
    return InfrastructureError(
        f"The Prefect task of the shard failed, not its extraction: {type(found).__name__}: {found}. Finished work is "
        "kept; run it again."
    )
