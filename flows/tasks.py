"""Prefect tasks: thin wrappers around the packages. What is passed are paths, ids and settings, never arrays."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.config import PipelineConfig
from flows.networks import load_networks
from flows.shard_work import run_shard
from storage.store import FeatureStore


@task(name="extract-shard", task_run_name="shard-{shard:05d}", cache_policy=NO_CACHE)
def extract_shard(
    store: str, shard: int, spaces: tuple[str, ...], config: PipelineConfig, retry: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Extract what one shard lacks in `spaces` and publish it; return its ShardReport as JSON values."""
    networks = load_networks(spaces, config)
    return run_shard(FeatureStore(store), shard, networks, config.extract, retry).to_json()
