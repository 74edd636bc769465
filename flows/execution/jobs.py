"""Protocols of jobs, workers and executors, and the events of a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from reeldex.flows.execution.retries import RetryRule

OnEvent = Callable[[object], None]
"""Callback for events while jobs run: JobStarted, JobStopped, and the jobs' own events."""


@dataclass(frozen=True)
class JobStarted:
    """A job has acquired its device and started. Two events of one job are equal, whatever their devices."""

    job: int
    device: str = field(default="", compare=False)


@dataclass(frozen=True)
class JobStopped:
    """A job has ended, successfully or not."""

    job: int


NOTHING_DONE = "nothing_done"
"""A key of the result of a job that found its work done, or being done, by others: neither a success nor a fault."""


def did_nothing(result: object) -> bool:
    """Whether a result says that the job found its work done, or being done, by others."""
    return isinstance(result, dict) and NOTHING_DONE in result


class Job(Protocol):
    """A picklable unit of work. `number` identifies it within its run."""

    @property
    def number(self) -> int:
        """The job's number in its run."""

    def __call__(self, device: str, on_event: OnEvent) -> Any:  # noqa: ANN401 - as the job is
        """Do the work on a device such as `cpu` or `cuda:0`, and return its result."""


@runtime_checkable
class MovableJob(Job, Protocol):
    """A job that takes notes along when it goes to another machine."""

    def for_another_machine(self) -> Job:
        """Return the job as a worker on another machine needs it."""


class Workers(Protocol):
    """The workers of a run: processes of this machine or of others, each of which runs one job at a time."""

    @property
    def count(self) -> int:
        """How many jobs run at a time."""

    def run(self, job: Job, on_event: OnEvent) -> Any:  # noqa: ANN401 - as the job is
        """Return the result of a job, run by a free worker; waits for one. Safe to call from several threads.

        `on_event` is called, and log records are handled, in the calling thread. Raises InfrastructureError when the
        worker or its machine fails, UsageError, InternalError, and RunStoppedError once the workers are stopped.
        """

    def stop(self) -> None:
        """End the workers and all that they started."""

    def pause(self, seconds: float) -> None:
        """Sleep. Raises RunStoppedError as soon as the workers are stopped."""


OpenWorkers = Callable[[str], AbstractContextManager[Workers]]
"""Returns the workers for the user's choice of devices, for the duration of a block. Raises UsageError."""

J_contra = TypeVar("J_contra", bound=Job, contravariant=True)


class Executor(Protocol[J_contra]):
    """Runs jobs: in threads of this process, or as Prefect tasks."""

    def run(
        self, jobs: Sequence[J_contra], devices: str, retries: RetryRule, on_event: OnEvent
    ) -> dict[int, Any | BaseException]:
        """Return the result of each job by its number, or its error; a failed job does not stop the others.

        A fault that no retry heals, or the same fault in several jobs in a row, ends the run: jobs that were not
        started are absent from the results, and jobs that were stopped have RunStoppedError (see `fault_limit`).
        `devices` is the user's choice, such as `auto` or `cuda:0,cuda:1`. Raises UsageError for a device that is
        not available, and KeyboardInterrupt after all jobs have been stopped.
        """
