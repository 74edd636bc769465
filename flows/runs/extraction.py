"""A prepared extraction in a flow run: shards as tasks, progress and report as artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefect.runtime import flow_run

from reeldex.flows.execution.engines import workers_of
from reeldex.flows.extraction.run import run_shards
from reeldex.flows.extraction.run_report import RunReport, ShardsLostError
from reeldex.flows.runs.artifacts import publish_report
from reeldex.flows.runs.prefect_executor import PrefectTasks, task_runner_of
from reeldex.flows.runs.progress_artifact import progress_artifact
from reeldex.flows.runs.store_artifact import publish_store

if TYPE_CHECKING:
    from reeldex.flows.extraction.prepare import PreparedRun


def report_if_nothing_to_do(prepared: PreparedRun) -> RunReport | None:
    """Return the report of a run that has nothing to do, and publish it; None if there is work.

    It waits for no other run of the store, as the command without a server does not.
    """
    report = prepared.report_if_nothing_to_do()
    if report is not None:
        _publish(prepared, report, [])
    return report


def run_as_tasks(prepared: PreparedRun, shards: Sequence[int], found_counts: Mapping[str, Any]) -> RunReport:
    """Process the planned shards as tasks of the current flow run, publish the report and return it.

    A shard that an earlier attempt of the run completed is not processed again, unless it has become incomplete.
    Requires the run's claim (`store_use`). Raises as `run_shards` does.
    """
    planned = {task.shard: task for task in prepared.all_tasks}
    tasks = [planned.get(shard) or prepared.task_of(prepared.store.manifest(shard)) for shard in shards]
    lacking = {task.shard for task in prepared.all_tasks if not task.complete}
    try:
        with progress_artifact("Starting", wanted=any(task.shard in planned for task in tasks)):
            execution = prepared.config.execution
            workers = workers_of(execution, flow_run.name or "unnamed")
            executor = PrefectTasks(workers, lacking, task_runner_of(execution))
            report = run_shards(prepared, tasks, executor, found_counts)
    except ShardsLostError as lost:
        _publish(prepared, lost.report, shards)
        raise
    _publish(prepared, report, shards)
    return report


def _publish(prepared: PreparedRun, report: RunReport, shards: Sequence[int]) -> None:
    publish_report(prepared.store, report, shards, prepared.config.compute.limits, prepared.config.decode)
    publish_store(prepared.store, report.seconds_of_video, report.seconds_of_work)
