"""Attempts at shards, which tasks ask for and the process of their flow run makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect import Task
    from prefect.futures import PrefectFuture

    from reeldex.flows.execution.jobs import OnEvent, Workers
    from reeldex.flows.execution.retries import RetryRule
    from reeldex.flows.extraction.shard_job import ShardJob


@dataclass(frozen=True)
class ShardAttempt:
    """The attempt of this number, from 1 on, at a shard."""

    shard: int
    number: int


MakeAttempt = Callable[[ShardAttempt], Any]
"""Makes an attempt and returns its result. Raises as `Workers.run` does."""
SubmitTask = Callable[["Task[..., Any]", dict[str, Any]], "PrefectFuture[Any]"]
"""Submits a task with its parameters."""

# A task's parameters are shown in the UI, and are the key of its result: this cannot be one of them. Prefect runs tasks
# in threads with copies of the context.
_here: ContextVar[MakeAttempt] = ContextVar("make_attempt")


class ShardAttempts:
    """Makes attempts at the shards of these jobs on workers; their events go to `on_event`. Thread-safe.

    What the plan saw of a shard is part of its job. `errors` are the last errors by shard, as they were raised here.
    """

    def __init__(self, jobs: Sequence[ShardJob], workers: Workers, on_event: OnEvent, retries: RetryRule) -> None:
        # By index: iteration leaves out what others have claimed at this moment.
        self._jobs = {job.shard: job for job in map(jobs.__getitem__, range(len(jobs)))}
        self._workers, self._on_event, self._retries = workers, on_event, retries
        self.errors: dict[int, BaseException] = {}

    def __call__(self, attempt: ShardAttempt) -> Any:  # noqa: ANN401 - as the job's
        """Make an attempt, after the pause that follows a failed one."""
        self.errors.pop(attempt.shard, None)
        try:
            # Not Prefect's retry delay, whose sleep cannot be interrupted when the run is stopped.
            self._retries.wait_before(attempt.number, self._workers.pause)
            return self._workers.run(self._jobs[attempt.shard], self._on_event)
        except BaseException as error:
            self.errors[attempt.shard] = error
            raise


@contextmanager
def attempts_made_by(make: MakeAttempt) -> Iterator[None]:
    """Let tasks that are submitted in the block, and run in threads of this process, ask `make`."""
    token = _here.set(make)
    try:
        yield
    finally:
        _here.reset(token)


def attempts_here() -> MakeAttempt | None:
    """Return what makes the attempts of this task; None in a process that is not that of its flow run."""
    return _here.get(None)
