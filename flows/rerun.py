"""The flow `rerun`: finish what a store lacks, and try broken videos again if asked to."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import flow

from flows.config import PipelineConfig
from flows.networks import feature_space, load_networks
from flows.plan import unfinished
from flows.run_report import RunReport
from flows.shard_tasks import ONE_AT_A_TIME, run_shard_tasks
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
        tasks = unfinished(feature_store, reasons)
        for task in tasks:
            for network in load_networks(task.spaces, config):
                feature_store.require_fingerprint(feature_space(network))
        return run_shard_tasks(feature_store, tasks, config)
