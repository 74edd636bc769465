"""Prefect tasks: thin wrappers around the packages. What is passed are paths, ids and settings, never arrays.

Their small results are persisted: after Retry in the UI, a task that was completed is not run again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from prefect import task
from prefect.runtime import flow_run, task_run

from reeldex.errors import InfrastructureError
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.execution.device_lock import one_shard_at_a_time
from reeldex.flows.execution.worker_process import ShardJob
from reeldex.flows.execution.workers import POOL
from reeldex.flows.extraction.plan import plan, tasks_for, unfinished
from reeldex.flows.extraction.run_report import count_found
from reeldex.flows.extraction.sources import find_settled_videos
from reeldex.flows.progress.progress import listener
from reeldex.storage.store import FeatureStore

log = logging.getLogger(__name__)


def _machine_failed(_task: object, _task_run: object, state: Any) -> bool:  # noqa: ANN401 - Prefect's State of anything
    return isinstance(state.result(raise_on_failure=False), InfrastructureError)


@task(name="plan", task_run_name="plan", persist_result=True, result_serializer="json")
def plan_extraction(source: str, store: str, spaces: tuple[str, ...], settings: Mapping[str, Any]) -> dict[str, Any]:
    """File the videos that the store does not have yet into new shards; return which shards are to be worked on."""
    options = PipelineConfig(**settings).extract
    found = find_settled_videos(source, options)
    feature_store = FeatureStore(store)
    growth = plan(feature_store, found.videos, spaces, options.shard_videos)
    feature_store.add_shards(growth.new_shards)
    shards = [each.shard for each in tasks_for(feature_store, found.videos, spaces)]
    return {"shards": shards, "found": count_found(growth, found)}


@task(name="plan-rerun", task_run_name="plan", persist_result=True, result_serializer="json")
def plan_rerun(store: str, retry: tuple[str, ...]) -> dict[str, Any]:
    """Return which shards of a store lack something, or hold videos to try again."""
    return {"shards": [each.shard for each in unfinished(FeatureStore(store), retry)]}


@task(
    name="extract-shard",
    task_run_name="shard-{shard:05d} ({videos} videos)",
    persist_result=True,
    result_serializer="json",
    retry_condition_fn=_machine_failed,
)
def extract_shard(  # noqa: PLR0913, PLR0917 - Prefect shows each in the UI, and makes the cache key of them
    store: str, shard: int, videos: int, spaces: tuple[str, ...], settings: Mapping[str, Any], retry: tuple[str, ...]
) -> dict[str, Any]:
    """Extract what one shard of `videos` videos lacks in `spaces`, in a worker process; return its ShardReport."""
    del videos  # for the run's name
    config = PipelineConfig(**settings)
    _back_off(config.compute.retry_delay_seconds)
    with POOL.lend(config.compute.device) as (device, worker), one_shard_at_a_time(device, flow_run.name or "unnamed"):
        on_device = config.model_copy(update={"compute": config.compute.model_copy(update={"device": device})})
        job, hears = ShardJob(store, shard, spaces, on_device, retry), listener()
        hears.started(shard)
        try:
            return worker.run(job, hears).to_json()
        finally:
            hears.stopped(shard)


def _back_off(first_delay_seconds: float) -> None:
    """Wait before a repeated attempt, twice as long before each next one.

    Not left to Prefect, whose sleep would hold up a run that is to end.
    """
    attempt = task_run.run_count
    if attempt > 1:
        delay_seconds = first_delay_seconds * 2 ** (attempt - 2)
        log.info("Attempt %d in %.0f seconds", attempt, delay_seconds)
        POOL.pause(delay_seconds)
