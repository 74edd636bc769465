"""What is executed: jobs that run on a device, and what is reported while they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from reeldex.flows.execution.retries import RetryRule

OnEvent = Callable[[object], None]
"""Is called with what happens while jobs run: JobStarted, JobStopped, and the events of the jobs themselves."""


@dataclass(frozen=True)
class JobStarted:
    """A job has its device and is worked on now."""

    job: int


@dataclass(frozen=True)
class JobStopped:
    """A job is no longer worked on, whatever its result."""

    job: int


class Job(Protocol):
    """A piece of work, which other processes can unpickle. `number` tells it from the other jobs of its run."""

    @property
    def number(self) -> int:
        """The job's number in its run."""

    def __call__(self, device: str, on_event: OnEvent) -> Any:  # noqa: ANN401 - as the job is
        """Do the work on a device such as `cpu` or `cuda:0`, and return its result."""


J_contra = TypeVar("J_contra", bound=Job, contravariant=True)


class Executor(Protocol[J_contra]):
    """Runs jobs: in this process, in worker processes, as Prefect tasks."""

    def run(
        self, jobs: Sequence[J_contra], devices: str, retries: RetryRule, on_event: OnEvent
    ) -> dict[int, Any | BaseException]:
        """Return the result of each job by its number, or the error that it ended in; one that fails stops no other.

        `devices` is the user's choice, such as `auto` or `cuda:0,cuda:1`. Raises UsageError for a device that is not
        there, and KeyboardInterrupt after all jobs have been stopped.
        """
