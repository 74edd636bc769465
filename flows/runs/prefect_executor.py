"""An executor that runs shards as Prefect tasks, one task per shard."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from prefect.task_runners import ThreadPoolTaskRunner

from reeldex.flows.execution.fault_limit import FaultLimit, run_until_fault
from reeldex.flows.runs.tasks import extract_shard, submitting

if TYPE_CHECKING:
    from prefect.futures import PrefectConcurrentFuture

    from reeldex.flows.execution.jobs import OnEvent, OpenWorkers
    from reeldex.flows.execution.retries import RetryRule
    from reeldex.flows.extraction.shard_job import ShardJob


class PrefectTasks:
    """Runs shards as tasks of the current flow run, on workers, which it opens for each call of `run`.

    Shards in `lacking` are processed regardless of persisted results; for other shards, results that
    an earlier attempt of this flow run persisted are reused. None of those did nothing (see `extract_shard`), and a
    shard without one was completed by others.
    """

    def __init__(self, open_workers: OpenWorkers, lacking: Collection[int]) -> None:
        self._open_workers = open_workers
        self._limit = FaultLimit()
        self._lacking = frozenset(lacking)

    def run(
        self, jobs: Sequence[ShardJob], devices: str, retries: RetryRule, on_event: OnEvent
    ) -> dict[int, Any | BaseException]:
        """Return the result or the error of each shard by its number, as `Executor.run` does."""
        with self._open_workers(devices) as workers:
            threads: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(workers.count)
            with threads as runner, submitting(jobs, workers, on_event):
                try:
                    return run_until_fault(
                        jobs,
                        workers.count,
                        lambda job: self._submit(runner, job, retries),
                        lambda future: future.result(raise_on_failure=False),
                        workers.stop,
                        self._limit,
                    )
                except BaseException:
                    workers.stop()  # or the tasks' threads would continue, and this block would wait for them
                    raise

    def _submit(
        self, runner: ThreadPoolTaskRunner[Any], job: ShardJob, retries: RetryRule
    ) -> PrefectConcurrentFuture[Any]:
        return runner.submit(
            extract_shard.with_options(retries=retries.retries, refresh_cache=job.shard in self._lacking),
            {
                "store": job.store,
                "shard": job.shard,
                "videos": job.videos,
                "spaces": job.spaces,
                "settings": job.config.model_dump(mode="json"),
                "retry": job.retry,
                "redo": job.redo,
            },
        )
