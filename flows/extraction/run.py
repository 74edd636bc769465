"""Runs the shards of a prepared run on an executor, and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reeldex.errors import InfrastructureError, UserError
from reeldex.flows.config.pipeline import WhenBusy
from reeldex.flows.execution.errors import InternalError
from reeldex.flows.execution.retries import RetryRule
from reeldex.flows.extraction.progress import ExtractionProgress
from reeldex.flows.extraction.run_report import RunReport, ShardsLostError, present_outcomes, sum_up
from reeldex.flows.extraction.shard_job import ShardJob
from reeldex.flows.extraction.shard_work import ShardReport
from reeldex.flows.extraction.store_lock import store_lock
from reeldex.storage.json_codec import from_json

if TYPE_CHECKING:
    from reeldex.flows.config.pipeline import ComputeConfig
    from reeldex.flows.execution.jobs import Executor
    from reeldex.flows.extraction.plan import ShardTask
    from reeldex.flows.extraction.prepare import PreparedRun


def run_prepared(
    prepared: PreparedRun, executor: Executor[ShardJob], when_busy: WhenBusy, wait_seconds: float
) -> RunReport:
    """Run a prepared extraction and return its report. Raises as `run_shards` and `store_lock` do."""
    with store_lock(prepared.store, when_busy, wait_seconds):
        renewed = prepared.renewed()
        renewed.file_new_shards()
        return run_shards(renewed, renewed.all_tasks, executor, renewed.found_counts)


def retry_rule(compute: ComputeConfig) -> RetryRule:
    """Return the retry rule of shards for infrastructure errors."""
    return RetryRule(compute.retries, compute.retry_delay_seconds)


def run_shards(
    prepared: PreparedRun,
    tasks: Sequence[ShardTask],
    executor: Executor[ShardJob],
    found_counts: Mapping[str, Any],
) -> RunReport:
    """Process these shards and return the report on the run; a lost shard does not stop the others.

    Requires the store's lock. Raises ShardsLostError, with the report, when a shard was lost; UserError when no shard
    can be processed before the user has changed something.
    """
    store, config = prepared.store, prepared.config
    jobs = [
        ShardJob(str(store.path), task.shard, task.spaces, config, task.retry, task.videos, task.inspection)
        for task in tasks
    ]
    progress = ExtractionProgress(sum(task.videos for task in prepared.all_tasks))
    results: dict[int, Any] = {}
    if jobs:
        try:
            results = executor.run(jobs, config.compute.device, retry_rule(config.compute), progress)
        finally:
            progress.end()
    for result in results.values():
        if isinstance(result, UserError):
            raise result
    reports = [from_json(ShardReport, result) for result in results.values() if not isinstance(result, BaseException)]
    lost = {shard: _why(result) for shard, result in results.items() if isinstance(result, BaseException)}
    report = sum_up(store, reports, lost, present_outcomes(store, prepared.videos), found_counts)
    if lost:
        raise ShardsLostError(report)
    return report


def _why(error: BaseException) -> str:
    return str(error) if isinstance(error, (InfrastructureError, InternalError)) else f"{type(error).__name__}: {error}"
