"""What can be known to be wrong before a run starts, so that it is said at once and without a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flows.config import PipelineConfig
from flows.networks import feature_space, load_networks, requested_spaces
from flows.plan import plan, stored_spaces, tasks_for, unfinished
from flows.run_report import RunReport, sum_up
from flows.sources import find_videos
from storage.store import FeatureStore


def check_extract(source: str, store: str, config: PipelineConfig) -> None:
    """Raise what `extract` would raise for a bad source, absent weights, a wrong device or an unfit store."""
    find_videos(source, config.extract.video_id)
    spaces = requested_spaces(config)
    networks = load_networks(spaces, config)
    feature_store = FeatureStore(store, create=True)
    for network in networks:
        feature_store.require_fingerprint(feature_space(network))


def up_to_date(source: str, store: str, config: PipelineConfig) -> RunReport | None:
    """Return the report on a run that has nothing to do, or None if there is, or may be, something to do.

    Loads no network and starts no run: whether all is there shows in the names of the spaces and the files alone.
    """
    if not Path(store).is_dir() or not any(Path(store).iterdir()):
        return None
    found = find_videos(source, config.extract.video_id)
    names = requested_spaces(config)
    feature_store = FeatureStore(store, create=True)  # refuses a folder with anything else in it
    spaces = stored_spaces(feature_store, names)
    if spaces is None:
        return None
    growth = plan(feature_store, found, names, config.extract.shard_videos)
    if growth.new_shards or tasks_for(feature_store, found, spaces):
        return None
    return sum_up(feature_store, [], {}, found, growth)


def check_rerun(store: str, config: PipelineConfig, reasons: Sequence[str]) -> RunReport | None:
    """Return the report on a rerun that has nothing to do, without loading a network; None if there is something.

    Raises what `rerun` would raise for a folder that is no store, absent weights, a wrong device or other settings.
    """
    feature_store = FeatureStore(store)
    tasks = unfinished(feature_store, reasons)
    for task in tasks:
        for network in load_networks(task.spaces, config):
            feature_store.require_fingerprint(feature_space(network))
    return None if tasks else sum_up(feature_store, [], {}, None, None)
