"""Hand shards to Prefect, one task each, and sum up what became of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefect.task_runners import ThreadPoolTaskRunner

from reeldex.errors import InfrastructureError, UsageError
from reeldex.flows.execution.errors import InternalError
from reeldex.flows.execution.workers import POOL
from reeldex.flows.extraction.plan import ShardTask, stored_spaces
from reeldex.flows.extraction.run_report import RunReport, ShardsLostError, present_outcomes, sum_up
from reeldex.flows.extraction.shard_work import ShardReport, work_left
from reeldex.flows.runs.artifacts import progress_shown, publish_report
from reeldex.flows.runs.tasks import extract_shard

if TYPE_CHECKING:
    from reeldex.flows.config.pipeline import PipelineConfig
    from reeldex.storage.schema import VideoEntry
    from reeldex.storage.store import FeatureStore


def run_shard_tasks(
    store: FeatureStore,
    tasks: Sequence[ShardTask],
    config: PipelineConfig,
    found: Sequence[VideoEntry] | None = None,
    found_counts: Mapping[str, int] | None = None,
) -> RunReport:
    """Run one Prefect task a shard, as many at a time as there are devices; one that is lost stops no other.

    `found` are the videos that the report is about, all of the store's without it. Raises ShardsLostError, with the
    report, when a shard was lost; UsageError when something has to be changed before any shard can be done.
    """
    # A shard that a run has done already is not done again when that run is retried, unless something of it has been
    # lost since.
    lacking = {task.shard for task in tasks if _lacks_something(store, task)}
    with progress_shown(sum(task.videos for task in tasks if task.shard in lacking or task.retry)):
        results = _run(store, tasks, config, lacking) if tasks else {}
    wrong_use = [result for result in results.values() if isinstance(result, UsageError)]
    if wrong_use:
        raise wrong_use[0]
    reports = [result for result in results.values() if isinstance(result, ShardReport)]
    lost = {shard: _why(result) for shard, result in results.items() if isinstance(result, BaseException)}
    outcomes = present_outcomes(store, found)
    report = sum_up(store, reports, lost, outcomes, found_counts)
    publish_report(store, report, [task.shard for task in tasks], outcomes, config.compute.limits)
    if lost:
        raise ShardsLostError(report)
    return report


def _run(
    store: FeatureStore, tasks: Sequence[ShardTask], config: PipelineConfig, lacking: Collection[int]
) -> dict[int, ShardReport | BaseException]:
    """Return what each task's shard came to: its report, or the error it was lost by."""
    POOL.resume()
    settings = config.model_dump(mode="json")
    threads: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(len(POOL.devices(config.compute.device)))
    with threads as runner:
        try:
            futures = {
                task.shard: runner.submit(
                    extract_shard.with_options(retries=config.compute.retries, refresh_cache=task.shard in lacking),
                    {
                        "store": str(store.path),
                        "shard": task.shard,
                        "videos": task.videos,
                        "spaces": task.spaces,
                        "settings": settings,
                        "retry": task.retry,
                    },
                )
                for task in tasks
            }
            results = {shard: future.result(raise_on_failure=False) for shard, future in futures.items()}
        except BaseException:
            POOL.stop()  # or the threads of the tasks would go on, and this block wait for them
            raise
    return {
        shard: result if isinstance(result, BaseException) else ShardReport(**result)
        for shard, result in results.items()
    }


def _why(error: BaseException) -> str:
    return str(error) if isinstance(error, (InfrastructureError, InternalError)) else f"{type(error).__name__}: {error}"


def _lacks_something(store: FeatureStore, task: ShardTask) -> bool:
    return work_left(store, task.shard, stored_spaces(store, task.spaces))
