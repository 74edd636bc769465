"""The worker processes of this machine, one per device, as the workers of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from reeldex.errors import UserError
from reeldex.flows.execution.device_lock import one_shard_at_a_time
from reeldex.flows.execution.errors import as_our_error
from reeldex.flows.execution.jobs import Job, JobStarted, JobStopped, OnEvent
from reeldex.flows.execution.workers import POOL


@dataclass(frozen=True)
class WorkerProcesses:
    """Worker processes for the devices that `devices` names; `name` is the run's, for others that wait for a device."""

    name: str
    devices: str

    @property
    def count(self) -> int:
        """The number of devices."""
        return len(POOL.devices(self.devices))

    def run(self, job: Job, on_event: OnEvent) -> Any:  # noqa: ANN401 - as the job is
        """Return the result of a job, run on a free device, as `Workers.run` does.

        Raises UsageError or InfrastructureError when the device's lock cannot be taken.
        """
        with POOL.lend(self.devices) as (device, worker), contextlib.ExitStack() as locks:
            try:
                locks.enter_context(one_shard_at_a_time(device, self.name))
            except (OSError, UserError) as error:
                raise as_our_error(error) from error
            on_event(JobStarted(job.number, device))
            try:
                return worker.run(job, device, on_event)
            finally:
                on_event(JobStopped(job.number))

    def stop(self) -> None:
        """End the processes and all that they started."""
        POOL.stop()

    def pause(self, seconds: float) -> None:
        """Sleep. Raises RunStoppedError as soon as the workers are stopped."""
        POOL.pause(seconds)


@contextmanager
def worker_processes(name: str, devices: str) -> Iterator[WorkerProcesses]:
    """Return the worker processes for a run. They stay loaded after the block, for the next run of this process."""
    POOL.resume()
    yield WorkerProcesses(name, devices)
