"""Prefect tasks: thin wrappers around the packages. Parameters are paths, ids and settings, never arrays.

Their small results are persisted: after Retry in the UI, completed tasks are not run again. That others do, or have
done, the work of a task is no such result: it holds only at that moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.runtime import task_run
from prefect.transactions import get_transaction

from reeldex.flows.execution.jobs import did_nothing
from reeldex.flows.execution.retries import may_be_repeated
from reeldex.flows.runs.ray_tasks import ask_flow_run
from reeldex.flows.runs.shard_attempts import ShardAttempt, attempts_here
from reeldex.quantities import counted

if TYPE_CHECKING:
    from reeldex.flows.extraction.prepare import PreparedRun

# What planning tasks need and that cannot be a parameter; Prefect runs tasks in copies of the context.
_prepared: ContextVar[PreparedRun] = ContextVar("prepared")


@contextmanager
def planning(prepared: PreparedRun) -> Iterator[None]:
    """Make this run the subject of planning tasks in the block."""
    token = _prepared.set(prepared)
    try:
        yield
    finally:
        _prepared.reset(token)


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
    del store, videos, spaces, settings, retry, redo  # what the persisted result depends on
    make_attempt = attempts_here() or ask_flow_run
    result: dict[str, Any] = make_attempt(ShardAttempt(shard, task_run.run_count))
    transaction = get_transaction()
    if did_nothing(result) and transaction is not None:
        # The shard is submitted again once others have given it up, and must then not get this result from the cache.
        transaction.write_on_commit = False
    return result
