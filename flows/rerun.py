"""The flow `rerun-failed`: finish what a store lacks, and try broken videos again if asked to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.client.schemas.objects import State

from reeldex.flows.config.pipeline import (
    ComputeConfig,
    NonEmpty,
    PipelineConfig,
    ReasonName,
    Seconds,
    WeightsConfig,
    WhenBusy,
)
from reeldex.flows.extraction.plan import ShardTask
from reeldex.flows.extraction.preflight import require_rerunnable
from reeldex.flows.extraction.store_access import held
from reeldex.flows.runs.names import rerun_run_name
from reeldex.flows.runs.shard_tasks import run_shard_tasks
from reeldex.flows.runs.states import completed, ended
from reeldex.flows.runs.tasks import plan_rerun
from reeldex.storage.schema import REASONS
from reeldex.storage.store import FeatureStore

if TYPE_CHECKING:
    from reeldex.flows.extraction.run_report import RunReport

DESCRIPTION = """\
**Finish what a store lacks**: shards that were lost, are unfinished, or were damaged since.

1. *store*: the folder of features.
2. *broken_videos*: also try the videos again that failed; *reasons* keeps that to some reasons (none named: all).
3. Press **Submit**. What is complete is left alone.

Extractors and weights are those each shard was planned for; only where and how to compute is yours to say.
"""


@flow(name="rerun-failed", description=DESCRIPTION, flow_run_name=rerun_run_name)
def rerun(  # noqa: PLR0913, PLR0917 - each is a field of the form in the UI
    store: NonEmpty,
    broken_videos: bool = False,  # noqa: FBT001, FBT002
    reasons: list[ReasonName] = [],  # noqa: B006 - never written to
    compute: ComputeConfig = ComputeConfig(),  # noqa: B008 - frozen
    weights: WeightsConfig = WeightsConfig(),  # noqa: B008
    when_busy: WhenBusy = WhenBusy.WAIT,
    wait_seconds: Seconds = 86_400.0,
) -> State[Any]:
    """Finish the unfinished and damaged shards of a store, each in the feature spaces it was planned for.

    Args:
        store: The folder of the feature store.
        broken_videos: Whether to try videos again that failed.
        reasons: Only those that failed, or were truncated, for these reasons; all if none is named.
        compute: On what it is computed, and how.
        weights: Where the networks' weights lie.
        when_busy: What to do while another run holds the store (wait for it, skip this run, or fail).
        wait_seconds: How long to wait for such a run at most, in seconds.
    """
    config = PipelineConfig(compute=compute, weights=weights)
    retry = tuple(reasons) or REASONS if broken_videos else ()
    wait = wait_seconds if when_busy is WhenBusy.WAIT else 0.0
    return ended(lambda: completed(_rerun(store, config, retry, when_busy, wait)))


def _rerun(
    store: str, config: PipelineConfig, retry: tuple[str, ...], when_busy: WhenBusy, wait_seconds: float
) -> RunReport:
    feature_store = FeatureStore(store)
    with held(feature_store, when_busy, wait_seconds):
        shards = plan_rerun(store, retry)["shards"]
        manifests = feature_store.manifests()
        tasks = [
            ShardTask(shard, len(manifests[shard].videos), manifests[shard].spaces, retry)
            for shard in shards
            if shard < len(manifests)
        ]
        require_rerunnable(feature_store, sorted({name for task in tasks for name in task.spaces}), config)
        return run_shard_tasks(feature_store, tasks, config)
