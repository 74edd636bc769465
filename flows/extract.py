"""The flow `extract`: from a folder or list of videos to shards of features."""

from __future__ import annotations

from prefect import flow

from flows.config import PipelineConfig
from flows.networks import feature_space, load_networks, requested_spaces
from flows.plan import plan, tasks_for
from flows.run_report import RunReport
from flows.shard_tasks import ONE_AT_A_TIME, run_shard_tasks
from flows.sources import find_videos
from storage.store import FeatureStore


@flow(name="extract", task_runner=ONE_AT_A_TIME)
def extract(source: str, store: str, config: PipelineConfig | None = None, wait_seconds: float = 0.0) -> RunReport:
    """Extract features of every video in a folder, file or list that the store does not have yet.

    Args:
        source: A folder of videos, one video, or a .csv or .txt list.
        store: The folder of the feature store; made if it is not there.
        config: How to extract; the defaults of pipeline.yaml if not given.
        wait_seconds: How long to wait for another run that holds the store.
    """
    config = config or PipelineConfig()
    found = find_videos(source, config.extract.video_id)
    networks = load_networks(requested_spaces(config), config)
    spaces = [feature_space(network) for network in networks]
    feature_store = FeatureStore(store, create=True)
    with feature_store.lock(wait_seconds):
        for space in spaces:
            feature_store.require_fingerprint(space)
        names = [space.name for space in spaces]
        growth = plan(feature_store, found, names, config.extract.shard_videos)
        feature_store.add_shards(growth.new_shards)
        tasks = tasks_for(feature_store, found, spaces)
        return run_shard_tasks(feature_store, tasks, config, found, growth)
