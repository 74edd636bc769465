"""An extraction in a process of its own, for tests that kill it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reeldex.flows.config.pipeline import PipelineConfig, parse_config
from reeldex.flows.extraction.networks import load_networks, requested_spaces
from reeldex.flows.extraction.plan import plan, tasks_for
from reeldex.flows.extraction.shard_work import run_shard
from reeldex.flows.extraction.sources import find_videos
from reeldex.storage.store import FeatureStore

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event


def settings() -> PipelineConfig:
    extract = {"weights": "random", "extractors": ["wide2d", "wide3d"], "shard_videos": 3}
    return parse_config({"extract": extract, "compute": {"device": "cpu"}}, "test")


def extract_without_prefect(source: str, store: str, ready: Event) -> None:
    """Do what the flow `extract` does, shard after shard; `ready` is set once the networks are loaded."""
    config = settings()
    networks = load_networks(requested_spaces(config), config)
    ready.set()
    feature_store = FeatureStore(store, create=True)
    with feature_store.lock():
        found = find_videos(source, config.extract).videos
        names = [network.space for network in networks]
        feature_store.add_shards(
            plan(feature_store, found, names, config.extract.shard_videos, config.decode).new_shards
        )
        for task in tasks_for(feature_store, found, names):
            run_shard(feature_store, networks, shard=task.shard, compute=config.compute, on_event=lambda _: None)
