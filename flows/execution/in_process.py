"""An executor that runs jobs sequentially in this process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from reeldex.flows.execution.errors import as_our_error
from reeldex.flows.execution.jobs import Job, JobStarted, JobStopped, OnEvent
from reeldex.flows.execution.retries import RetryRule


class InProcess:
    """Runs jobs sequentially in this process, on the first of the devices.

    For programs that load PyTorch anyway; a crash in a native library also ends the program.
    """

    def run(
        self, jobs: Sequence[Job], devices: str, retries: RetryRule, on_event: OnEvent
    ) -> dict[int, Any | BaseException]:
        """Return the result or the error of each job by its number, as `Executor.run` does."""
        from reeldex.devices import usable_devices

        device = usable_devices(devices)[0]
        results: dict[int, Any | BaseException] = {}
        for job in jobs:
            try:
                results[job.number] = retries.call(lambda job=job: _attempt(job, device, on_event), time.sleep)  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001 - it is the job's result
                results[job.number] = error
        return results


def _attempt(job: Job, device: str, on_event: OnEvent) -> Any:  # noqa: ANN401 - as the job is
    on_event(JobStarted(job.number))
    try:
        return job(device, on_event)
    except Exception as error:
        raise as_our_error(error) from error
    finally:
        on_event(JobStopped(job.number))
