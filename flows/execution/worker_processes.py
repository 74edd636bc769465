"""An executor that runs jobs in worker processes of this machine, one per device."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from reeldex.errors import UserError
from reeldex.flows.execution.device_lock import one_shard_at_a_time
from reeldex.flows.execution.errors import as_our_error
from reeldex.flows.execution.fault_limit import run_until_fault
from reeldex.flows.execution.jobs import Job, JobStarted, JobStopped, OnEvent
from reeldex.flows.execution.retries import RetryRule
from reeldex.flows.execution.workers import POOL


def run_on_device(job: Job, devices: str, run: str, on_event: OnEvent) -> Any:  # noqa: ANN401 - as the job is
    """Run a job in the worker process of a free device that `devices` names, and return its result.

    `run` is the run's name, shown to other runs that wait for the device. Raises what `Worker.run` raises,
    RunStoppedError, and UsageError or InfrastructureError when the device's lock cannot be taken.
    """
    with POOL.lend(devices) as (device, worker), contextlib.ExitStack() as locks:
        try:
            locks.enter_context(one_shard_at_a_time(device, run))
        except (OSError, UserError) as error:
            raise as_our_error(error) from error
        on_event(JobStarted(job.number, device))
        try:
            return worker.run(job, device, on_event)
        finally:
            on_event(JobStopped(job.number))


class WorkerProcesses:
    """Runs jobs in worker processes of this machine, one per device at a time. `run` is the name of the run."""

    def __init__(self, run: str) -> None:
        self._run = run

    def run(
        self, jobs: Sequence[Job], devices: str, retries: RetryRule, on_event: OnEvent
    ) -> dict[int, Any | BaseException]:
        """Return the result or the error of each job by its number, as `Executor.run` does."""
        POOL.resume()

        def attempt(job: Job) -> Any:  # noqa: ANN401 - as the job is
            return retries.call(lambda: run_on_device(job, devices, self._run, on_event), POOL.pause)

        with ThreadPoolExecutor(len(POOL.devices(devices)), "shard") as threads:
            try:
                return run_until_fault(
                    jobs,
                    len(POOL.devices(devices)),
                    lambda job: threads.submit(attempt, job),
                    lambda future: future.exception() or future.result(),
                    POOL.stop,
                )
            except BaseException:
                POOL.stop()  # or the threads would continue, and this block would wait for them
                raise
