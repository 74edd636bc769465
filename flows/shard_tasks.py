"""Hand shards to Prefect, one task each, and sum up what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.run_report import RunReport, ShardsLostError
from flows.tasks import extract_shard

if TYPE_CHECKING:
    from flows.config import PipelineConfig
    from flows.plan import ShardTask
    from storage.manifest import Growth
    from storage.schema import VideoEntry, VideoOutcome
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
    reports: list[dict[str, Any]] = []
    lost: dict[int, str] = {}
    for task, future in zip(tasks, futures, strict=True):
        result = future.result(raise_on_failure=False)
        if isinstance(result, BaseException):
            lost[task.shard] = f"{type(result).__name__}: {result}"
        else:
            reports.append(result)
    outcomes = present_outcomes(store, found)
    report = RunReport(
        store=str(store.path),
        spaces=tuple(sorted({space for task in tasks for space in task.spaces})),
        shards_done=len(reports),
        shards_lost=lost,
        extracted_ok=sum(each["ok"] for each in reports),
        extracted_failed=sum(each["failed"] for each in reports),
        seconds_of_video=sum(each["seconds_of_video"] for each in reports),
        seconds_of_work=sum(each["seconds_of_work"] for each in reports),
        failed_by_reason=dict(Counter(each.reason or "" for each in outcomes if each.status == "failed")),
        truncated=sum(each.truncated for each in outcomes),
        new=growth.new if growth else 0,
        changed=growth.changed if growth else 0,
        unchanged=growth.unchanged if growth else 0,
        duplicates=growth.duplicates if growth else 0,
        gone=len(growth.gone) if growth else 0,
    )
    if lost:
        raise ShardsLostError(report)
    return report


def present_outcomes(store: FeatureStore, found: Sequence[VideoEntry] | None = None) -> list[VideoOutcome]:
    """Return the outcomes that stand now, of the videos `found` or of all; superseded and pending ones are left out.

    A file is known by its path, which also tells apart two files of one id; a file that has moved, by its id.
    """
    by_path: dict[str, VideoOutcome] = {}
    for manifest in store.manifests():
        outcomes = store.outcomes(manifest.shard)
        for position, entry in enumerate(manifest.videos):
            by_path.pop(entry.path, None)
            if outcomes is not None:
                by_path[entry.path] = outcomes.videos[position]
    if found is None:
        return list(by_path.values())
    present = [by_path.get(entry.path) or store.outcome(entry.video_id) for entry in found]
    return [outcome for outcome in present if outcome is not None]
