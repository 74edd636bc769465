"""Prefect tasks: thin wrappers around the packages. What is passed are paths, ids and settings, never arrays.

Their small results are persisted: after Retry in the UI, a task that was completed is not run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.runtime import flow_run, task_run

from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.execution.retries import may_be_repeated
from reeldex.flows.execution.worker_processes import run_on_device
from reeldex.flows.execution.workers import POOL
from reeldex.flows.extraction.run import retry_rule
from reeldex.flows.extraction.shard_job import ShardJob

if TYPE_CHECKING:
    from reeldex.flows.execution.jobs import OnEvent
    from reeldex.flows.extraction.prepare import PreparedRun

# What tasks need and Prefect cannot hand them: it runs them in copies of the context.
_prepared: ContextVar[PreparedRun] = ContextVar("prepared")
_on_event: ContextVar[OnEvent] = ContextVar("on_event")


@contextmanager
def planning(prepared: PreparedRun) -> Iterator[None]:
    """Have the planning tasks in the block plan this run."""
    token = _prepared.set(prepared)
    try:
        yield
    finally:
        _prepared.reset(token)


@contextmanager
def reporting_to(on_event: OnEvent) -> Iterator[None]:
    """Have the tasks that are submitted in the block report to `on_event`."""
    token = _on_event.set(on_event)
    try:
        yield
    finally:
        _on_event.reset(token)


@task(name="plan", task_run_name="plan", persist_result=True, result_serializer="json")
def plan_extraction(source: str, store: str, spaces: tuple[str, ...], settings: Mapping[str, Any]) -> dict[str, Any]:
    """File the videos that the store does not have yet into new shards; return which shards are to be worked on."""
    del source, store, spaces, settings  # what the persisted result depends on
    prepared = _prepared.get()
    prepared.file_new_shards()
    return {"shards": [each.shard for each in prepared.all_tasks], "found": prepared.found_counts}


@task(name="plan-rerun", task_run_name="plan", persist_result=True, result_serializer="json")
def plan_rerun(store: str, retry: tuple[str, ...]) -> dict[str, Any]:
    """Return which shards of a store lack something, or hold videos to try again."""
    del store, retry  # what the persisted result depends on
    return {"shards": [each.shard for each in _prepared.get().all_tasks]}


def _ended_so_that_it_may_be_repeated(_task: object, _task_run: object, state: Any) -> bool:  # noqa: ANN401 - Prefect's State of anything
    return may_be_repeated(state.result(raise_on_failure=False))


@task(
    name="extract-shard",
    task_run_name="shard-{shard:05d} ({videos} videos)",
    persist_result=True,
    result_serializer="json",
    retry_condition_fn=_ended_so_that_it_may_be_repeated,
)
def extract_shard(  # noqa: PLR0913, PLR0917 - Prefect shows each in the UI, and makes the cache key of them
    store: str, shard: int, videos: int, spaces: tuple[str, ...], settings: Mapping[str, Any], retry: tuple[str, ...]
) -> dict[str, Any]:
    """Extract what one shard of `videos` videos lacks in `spaces`, in a worker process; return its ShardReport."""
    config = PipelineConfig(**settings)
    # Not left to Prefect, whose sleep would hold up a run that is to end.
    retry_rule(config.compute).wait_before(task_run.run_count, POOL.pause)
    job = ShardJob(store, shard, spaces, config, retry, videos)
    result: dict[str, Any] = run_on_device(job, config.compute.device, flow_run.name or "unnamed", _on_event.get())
    return result
