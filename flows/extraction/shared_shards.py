"""The shards of a run that other runs may work on, too: which are open, claimed or done elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from reeldex.flows.execution.errors import RunStoppedError, as_our_error
from reeldex.flows.execution.fault_limit import FaultLimit
from reeldex.flows.execution.jobs import did_nothing
from reeldex.flows.extraction.plan import stored_spaces
from reeldex.flows.extraction.shard_job import ShardJob, was_completed
from reeldex.quantities import counted
from reeldex.storage import layout
from reeldex.storage.errors import StoreUnreadableError, StoreVanishedError
from reeldex.storage.presence import has_vanished
from reeldex.storage.system_errors import file_version

if TYPE_CHECKING:
    from reeldex.flows.execution.retries import RetryRule
    from reeldex.storage.store import FeatureStore

log = logging.getLogger(__name__)

T = TypeVar("T")
RunJobs = Callable[[Sequence[ShardJob]], dict[int, Any]]
"""Runs jobs, and returns the result or the error of each by its number, as an executor does."""

_LOOK_SECONDS = 1.0
_REPORT_SECONDS = 60.0


class SharedShards:
    """Decides which jobs of a run are open. A fault of asking the store is retried by the rule of the shards.

    `on_elsewhere` is called for each that another run has completed since.
    """

    def __init__(
        self,
        store: FeatureStore,
        jobs: Sequence[ShardJob],
        on_elsewhere: Callable[[ShardJob], None],
        retries: RetryRule,
    ) -> None:
        self._store = store
        # A new shard, of which the plan could see nothing, had no outcomes.
        self._planned = {job.shard: job.inspection.versions[0] if job.inspection else None for job in jobs}
        self._on_elsewhere = on_elsewhere
        self._retries = retries
        self.elsewhere: set[int] = set()
        """The shards that other runs completed since."""
        self.limit = FaultLimit()
        """Decides whether the run goes on; its `fault` is what ended the run early."""

    def holder(self, job: ShardJob) -> str | None:
        """Return who works on a job's shard; None if nobody alive does. Raises InfrastructureError."""
        return self._asked(lambda: self._store.shard_holder(job.shard))

    def is_open(self, job: ShardJob) -> bool:
        """Whether a job is still to be done and nobody else does it."""
        return self.holder(job) is None and not self.is_done_elsewhere(job)

    def is_done_elsewhere(self, job: ShardJob) -> bool:
        """Whether another run has completed a shard since the plan. Videos that a person chose are extracted anyway.

        Raises InfrastructureError.
        """
        if job.shard in self.elsewhere:
            return True
        if job.complete or job.redo or not self._asked(lambda: self._has_become_complete(job)):
            return False
        self.note_elsewhere(job)
        return True

    def _has_become_complete(self, job: ShardJob) -> bool:
        if file_version(layout.outcomes_file(self._store.path, job.shard)) == self._planned[job.shard]:
            return False
        state = self._store.shard_state(job.shard, stored_spaces(self._store, job.spaces))
        return state.done and not state.staged_positions

    def _asked(self, question: Callable[[], T]) -> T:
        """Return the answer of the store; a fault that may pass is an InfrastructureError, and is retried as one."""

        def ask() -> T:
            try:
                return question()
            except (OSError, StoreUnreadableError) as error:
                if has_vanished(self._store.path):
                    raise StoreVanishedError(self._store.path) from error
                raise as_our_error(error) from error

        return self._retries.call(ask, time.sleep)

    def note_elsewhere(self, job: ShardJob) -> None:
        """Record that another run has completed a job's shard."""
        if job.shard not in self.elsewhere:
            self.elsewhere.add(job.shard)
            self._on_elsewhere(job)


class OpenJobs(Sequence[ShardJob]):
    """Jobs whose iteration leaves out those that are not open at that moment."""

    def __init__(self, jobs: Sequence[ShardJob], shards: SharedShards) -> None:
        self._jobs, self._shards = jobs, shards

    def __iter__(self) -> Iterator[ShardJob]:
        return (job for job in self._jobs if self._shards.is_open(job))

    def __len__(self) -> int:
        return len(self._jobs)

    @overload
    def __getitem__(self, index: int) -> ShardJob: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ShardJob]: ...
    def __getitem__(self, index: int | slice) -> ShardJob | Sequence[ShardJob]:
        return self._jobs[index]


def run_until_done(shards: SharedShards, jobs: Sequence[ShardJob], run_jobs: RunJobs) -> dict[int, Any]:
    """Run jobs until each shard is done, by this run or by another one, and return the results of this run's.

    Shards that others have claimed are looked at again until they are published or abandoned. Ends early, as an
    executor does, when a fault ends the run.
    """
    results: dict[int, Any] = {}
    left = list(jobs)
    while left:
        found = run_jobs(OpenJobs(left, shards))
        for job in left:
            if was_completed(found.get(job.number)):
                shards.note_elsewhere(job)
        results.update({number: result for number, result in found.items() if not did_nothing(result)})
        for result in found.values():
            shards.limit.record(result)
        if shards.limit.fault is not None or any(isinstance(result, RunStoppedError) for result in found.values()):
            break
        left = _next_open(shards, [job for job in left if job.shard not in results])
    return results


def _next_open(shards: SharedShards, left: list[ShardJob]) -> list[ShardJob]:
    """Wait until one of the jobs is open, and return those that are not done; none if all are done elsewhere."""
    reported = -_REPORT_SECONDS
    while left := [job for job in left if not shards.is_done_elsewhere(job)]:
        holders = {job.shard: shards.holder(job) for job in left}
        if None in holders.values():
            return left
        if time.monotonic() - reported >= _REPORT_SECONDS:
            reported = time.monotonic()
            shard, holder = next(iter(holders.items()))
            held = counted(len(left), "shard")
            log.info("Waiting for %s that others process: shard %05d is claimed by %s", held, shard, holder)
        time.sleep(_LOOK_SECONDS)
    return []
