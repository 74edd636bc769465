"""The executor of commands without a Prefect server: each job that runs has a thread, which waits for its worker."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from reeldex.flows.execution.fault_limit import FaultLimit, run_until_fault
from reeldex.flows.execution.jobs import Job, OnEvent, OpenWorkers
from reeldex.flows.execution.retries import RetryRule


class ThreadExecutor:
    """Runs the jobs of one run on workers, which it opens for each call of `run`."""

    def __init__(self, open_workers: OpenWorkers) -> None:
        self._open_workers = open_workers
        self._limit = FaultLimit()

    def run(
        self, jobs: Sequence[Job], devices: str, retries: RetryRule, on_event: OnEvent
    ) -> dict[int, Any | BaseException]:
        """Return the result or the error of each job by its number, as `Executor.run` does."""
        with self._open_workers(devices) as workers, ThreadPoolExecutor(workers.count, "shard") as threads:

            def attempt(job: Job) -> Any:  # noqa: ANN401 - as the job is
                return retries.call(lambda: workers.run(job, on_event), workers.pause)

            try:
                return run_until_fault(
                    jobs,
                    workers.count,
                    lambda job: threads.submit(attempt, job),
                    lambda future: future.exception() or future.result(),
                    workers.stop,
                    self._limit,
                )
            except BaseException:
                workers.stop()  # or the threads would continue, and this block would wait for them
                raise
