"""Hand shards to Prefect, one task each, and sum up what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.run_report import RunReport, ShardsLostError, sum_up
from flows.shard_work import ShardReport
from flows.tasks import extract_shard

if TYPE_CHECKING:
    from flows.config import PipelineConfig
    from flows.plan import ShardTask
    from storage.manifest import Growth
    from storage.schema import VideoEntry
    from storage.store import FeatureStore

# One shard at a time: a shard's work fills the device by itself.
ONE_AT_A_TIME: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=1)


def run_shard_tasks(
    store: FeatureStore,
    tasks: Sequence[ShardTask],
    config: PipelineConfig,
    found: Sequence[VideoEntry] | None = None,
    growth: Growth | None = None,
) -> RunReport:
    """Run one Prefect task a shard; a shard that is lost does not keep the others from being done.

    `found` are the videos that the report is about, all of the store's without it. Raises ShardsLostError, with the
    report, when a shard was lost.
    """
    futures = [extract_shard.submit(str(store.path), task.shard, task.spaces, config, task.retry) for task in tasks]
    reports: list[ShardReport] = []
    lost: dict[int, str] = {}
    for task, future in zip(tasks, futures, strict=True):
        result = future.result(raise_on_failure=False)
        if isinstance(result, BaseException):
            lost[task.shard] = f"{type(result).__name__}: {result}"
        else:
            reports.append(ShardReport(**result))
    report = sum_up(store, reports, lost, found, growth)
    if lost:
        raise ShardsLostError(report)
    return report
