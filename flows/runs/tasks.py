"""Prefect tasks: thin wrappers around the packages. Parameters are paths, ids and settings, never arrays.

Their small results are persisted: after Retry in the UI, completed tasks are not run again. That others do, or have
done, the work of a task is no such result: it holds only at that moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.runtime import task_run
from prefect.transactions import get_transaction

from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.execution.jobs import did_nothing
from reeldex.flows.execution.retries import may_be_repeated
from reeldex.flows.extraction.run import retry_rule
from reeldex.flows.extraction.shard_job import ShardJob
from reeldex.quantities import counted

if TYPE_CHECKING:
    from reeldex.flows.execution.jobs import OnEvent, Workers
    from reeldex.flows.extraction.prepare import PreparedRun

# Objects that tasks need and that cannot be parameters; Prefect runs tasks in copies of the context.
_prepared: ContextVar[PreparedRun] = ContextVar("prepared")
_workers: ContextVar[Workers] = ContextVar("workers")
_on_event: ContextVar[OnEvent] = ContextVar("on_event")
_jobs: ContextVar[Mapping[int, ShardJob]] = ContextVar("jobs")


@contextmanager
def planning(prepared: PreparedRun) -> Iterator[None]:
    """Make this run the subject of planning tasks in the block."""
    token = _prepared.set(prepared)
    try:
        yield
    finally:
        _prepared.reset(token)


@contextmanager
def submitting(jobs: Sequence[ShardJob], workers: Workers, on_event: OnEvent) -> Iterator[None]:
    """Hand workers, and what the plan saw of the shards, to the tasks of these jobs, submitted in the block.

    Their events go to `on_event`.

    What the plan saw is not a parameter of the task: it would be part of its cache key, and of what the UI shows.
    """
    tokens = (
        _workers.set(workers),
        _on_event.set(on_event),
        # By index: iteration leaves out what others have claimed at this moment.
        _jobs.set({job.shard: job for job in map(jobs.__getitem__, range(len(jobs)))}),
    )
    try:
        yield
    finally:
        _workers.reset(tokens[0])
        _on_event.reset(tokens[1])
        _jobs.reset(tokens[2])


@task(name="plan", task_run_name="plan", persist_result=True, result_serializer="json")
def plan_extraction(
    source: str | tuple[str, ...], store: str, spaces: tuple[str, ...], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Assign the source's new videos to new shards; return which shards to process."""
    del source, store, spaces, settings  # what the persisted result depends on
    prepared = _prepared.get()
    prepared.file_new_shards()
    return {"shards": [each.shard for each in prepared.all_tasks], "found": prepared.found_counts}


@task(name="plan-rerun", task_run_name="plan", persist_result=True, result_serializer="json")
def plan_rerun(store: str, retry: tuple[str, ...], shards: tuple[int, ...], videos: tuple[str, ...]) -> dict[str, Any]:
    """Return which shards of a store are incomplete, contain videos to retry, or hold the chosen shards and videos."""
    del store, retry, shards, videos  # what the persisted result depends on
    return {"shards": [each.shard for each in _prepared.get().all_tasks]}


def _is_retryable(_task: object, _task_run: object, state: Any) -> bool:  # noqa: ANN401 - Prefect's State of anything
    return may_be_repeated(state.result(raise_on_failure=False))


def _shard_task_name() -> str:
    parameters = task_run.parameters
    return f"shard-{parameters['shard']:05d} ({counted(parameters['videos'], 'video')})"


@task(
    name="extract-shard",
    task_run_name=_shard_task_name,
    persist_result=True,
    result_serializer="json",
    retry_condition_fn=_is_retryable,
)
def extract_shard(  # noqa: PLR0913, PLR0917 - Prefect shows each in the UI, and uses them as cache key
    store: str,
    shard: int,
    videos: int,
    spaces: tuple[str, ...],
    settings: Mapping[str, Any],
    retry: tuple[str, ...],
    redo: tuple[int, ...] = (),
) -> dict[str, Any]:
    """Extract the missing features of a shard of `videos` videos on a worker; return its ShardReport.

    A result that did nothing, since others work on the shard, is returned, but neither persisted nor used again.
    """
    config = PipelineConfig(**settings)
    # Not Prefect's retry delay, whose sleep cannot be interrupted when the run is stopped.
    retry_rule(config.compute).wait_before(task_run.run_count, _workers.get().pause)
    planned = _jobs.get()[shard]
    job = ShardJob(
        store,
        shard,
        spaces,
        config,
        tuple(retry),
        videos,
        planned.inspection,
        tuple(redo),
        complete=planned.complete,
    )
    result: dict[str, Any] = _workers.get().run(job, _on_event.get())
    transaction = get_transaction()
    if did_nothing(result) and transaction is not None:
        # The shard is submitted again once others have given it up, and must then not get this result from the cache.
        transaction.write_on_commit = False
    return result
