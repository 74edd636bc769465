"""Runs the shards of a prepared run on an executor, and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reeldex.errors import InfrastructureError, PermanentFaultError, UserError
from reeldex.flows.config.pipeline import WhenBusy
from reeldex.flows.execution.errors import InternalError, RunStoppedError
from reeldex.flows.execution.fault_limit import SAME_FAULTS_IN_A_ROW
from reeldex.flows.execution.retries import RetryRule
from reeldex.flows.extraction.calibration import compare_with_estimate
from reeldex.flows.extraction.events import ShardPlanned
from reeldex.flows.extraction.metrics import ExtractionMetrics
from reeldex.flows.extraction.progress import ExtractionProgress
from reeldex.flows.extraction.run_report import RunReport, ShardsLostError, present_entries, present_outcomes, sum_up
from reeldex.flows.extraction.run_time import Estimate
from reeldex.flows.extraction.shard_job import ShardJob
from reeldex.flows.extraction.shard_work import ShardReport
from reeldex.flows.extraction.shared_shards import SharedShards, run_until_done
from reeldex.flows.extraction.store_faults import store_faults
from reeldex.flows.extraction.store_use import store_use
from reeldex.flows.monitoring.run_file import recorded
from reeldex.storage.errors import StoreVanishedError
from reeldex.storage.json_codec import from_json
from reeldex.storage.presence import has_vanished
from reeldex.storage.remote_path import refresh

if TYPE_CHECKING:
    from reeldex.flows.config.pipeline import ComputeConfig, PipelineConfig
    from reeldex.flows.execution.jobs import Executor
    from reeldex.flows.extraction.plan import ShardTask
    from reeldex.flows.extraction.prepare import PreparedRun
    from reeldex.storage.store import FeatureStore


def run_prepared(
    prepared: PreparedRun, executor: Executor[ShardJob], when_busy: WhenBusy, wait_seconds: float
) -> RunReport:
    """Run a prepared extraction and return its report. Raises as `run_shards` and `store_use` do."""
    lease_seconds = prepared.config.compute.lease_seconds
    with (
        store_faults(prepared.store.path),
        store_use(prepared.store, when_busy, wait_seconds, lease_seconds) as use,
    ):
        with use.planning():
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

    Shards that other runs have claimed are waited for: they are done when the others have published them, and taken
    over when those have ended. A fault that no retry heals, and the same fault in three shards in a row, end the run:
    the report counts the shards that were left. Requires `store_use`. Raises ShardsLostError, with the report, when a
    shard was lost; UserError when no shard can be processed before the user has changed something, StoreVanishedError
    when the store is gone.
    """
    store, config = prepared.store, prepared.config
    # Others have been completed by an earlier attempt.
    incomplete = {task.shard for task in prepared.all_tasks if not task.complete}
    jobs = [_job(store, config, task, complete=task.shard not in incomplete) for task in tasks]
    progress = ExtractionProgress(sum(task.videos for task in prepared.all_tasks))
    results, completed, fault = (
        _run_jobs(store, jobs, executor, config.compute, progress) if jobs else ({}, set[int](), None)
    )
    # An attempt of this run may have published a shard and then failed, as when its worker was killed.
    elsewhere = len(completed - progress.extracted)
    # What the workers published a moment ago counts.
    refresh(store.path)
    for result in results.values():
        if isinstance(result, UserError | StoreVanishedError):
            # A worker that starts now takes a vanished store for a mistyped one.
            raise StoreVanishedError(store.path) if has_vanished(store.path) else result
    reports = [from_json(ShardReport, result) for result in results.values() if not isinstance(result, BaseException)]
    lost = {shard: result for shard, result in results.items() if _is_lost(result)}
    report = sum_up(
        store,
        reports,
        {shard: _why(error) for shard, error in lost.items()},
        present_outcomes(store, prepared.videos),
        found_counts,
    )
    report = replace(
        report,
        videos=len(present_entries(store) if prepared.videos is None else prepared.videos),
        extracted_now=sum(each.ok for each in reports if each.shard in progress.started),
        wall_seconds=progress.worked_seconds,
        devices=max(1, progress.devices),
        estimate=progress.estimate,
        shards_done=len(reports) + len(completed) - elsewhere,
        shards_elsewhere=elsewhere,
    )
    left = len(jobs) - len(reports) - len(lost) - len(completed)
    if lost:
        raise ShardsLostError(replace(report, shards_left=left, ended_by=_ended_by(fault)))
    for result in results.values():
        if isinstance(result, RunStoppedError):
            raise result
    return _compared(prepared, report)


def _compared(prepared: PreparedRun, report: RunReport) -> RunReport:
    """Return the report with the estimate of `--dry-run`, if there was one, in place of that after the first videos."""
    work_seconds = report.seconds_of_work / report.devices
    seconds = compare_with_estimate(prepared.store_folder, report.seconds_of_video, report.wall_seconds, work_seconds)
    return report if seconds is None else replace(report, estimate=Estimate(seconds))


def _job(store: FeatureStore, config: PipelineConfig, task: ShardTask, *, complete: bool) -> ShardJob:
    used = config if task.decode is None else config.model_copy(update={"decode": task.decode})
    return ShardJob(
        str(store.path),
        task.shard,
        task.spaces,
        used,
        task.retry,
        task.videos,
        task.inspection,
        task.redo,
        complete=complete,
    )


def _run_jobs(
    store: FeatureStore,
    jobs: Sequence[ShardJob],
    executor: Executor[ShardJob],
    compute: ComputeConfig,
    progress: ExtractionProgress,
) -> tuple[dict[int, Any], set[int], BaseException | None]:
    """Return the result or the error of each shard, the shards that were completed otherwise, and what ended the run.

    Events go to the progress and to the metrics.
    """
    with recorded() as run:
        metrics = ExtractionMetrics(run, ((job.shard, job.videos) for job in jobs))

        def on_event(event: object) -> None:
            progress(event)
            metrics(event)

        try:
            shared = SharedShards(
                store, jobs, lambda job: on_event(ShardPlanned(job.shard, 0, job.videos)), retry_rule(compute)
            )
            results = run_until_done(
                shared, jobs, lambda each: executor.run(each, compute.device, retry_rule(compute), on_event)
            )
        finally:
            progress.end()
        lost = sum(_is_lost(result) for result in results.values())
        done = sum(not isinstance(result, BaseException) for result in results.values())
        metrics.end(done, lost)
    return results, shared.elsewhere, shared.limit.fault


def _is_lost(result: object) -> bool:
    """Whether a shard failed by itself: one that was stopped because another failed is merely left."""
    return isinstance(result, BaseException) and not isinstance(result, RunStoppedError)


def _ended_by(fault: BaseException | None) -> str:
    """Return in words the fault that ended the run early, empty if none did."""
    if fault is None:
        return ""
    if isinstance(fault, PermanentFaultError):
        return str(fault)
    return f"{SAME_FAULTS_IN_A_ROW} shards in a row failed for the same reason, so the run ended: {_why(fault)}"


def _why(error: BaseException) -> str:
    return str(error) if isinstance(error, (InfrastructureError, InternalError)) else f"{type(error).__name__}: {error}"
