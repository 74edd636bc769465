"""The flow `rerun`: finish what a store lacks, and try broken videos again if asked to."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import flow

from flows.config import PipelineConfig
from flows.networks import feature_space, load_networks
from flows.plan import ShardTask, extractable_spaces
from flows.run_report import RunReport
from flows.shard_tasks import ONE_AT_A_TIME, run_shard_tasks
from flows.shard_work import work_left
from storage.store import FeatureStore


@flow(name="rerun-failed", task_runner=ONE_AT_A_TIME)
def rerun(
    store: str, config: PipelineConfig | None = None, reasons: Sequence[str] = (), wait_seconds: float = 0.0
) -> RunReport:
    """Finish the unfinished and damaged shards of a store, each in the feature spaces it was planned for.

    Args:
        store: The folder of the feature store.
        config: Device, precision, limits and where weights lie; extractors and weights come from the store.
        reasons: Also try again the videos that failed, or were truncated, for these reasons.
        wait_seconds: How long to wait for another run that holds the store.
    """
    config = config or PipelineConfig()
    feature_store = FeatureStore(store)
    with feature_store.lock(wait_seconds):
        tasks = []
        for manifest in feature_store.manifests():
            names = extractable_spaces(manifest)
            spaces = [feature_space(network) for network in load_networks(names, config)]
            if spaces and work_left(feature_store, manifest.shard, spaces, reasons):
                for space in spaces:
                    feature_store.require_fingerprint(space)
                tasks.append(ShardTask(manifest.shard, names, tuple(reasons)))
        return run_shard_tasks(feature_store, tasks, config)
