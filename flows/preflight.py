"""What can be known to be wrong before a run starts, so that it is said at once and without a run."""

from __future__ import annotations

from flows.config import PipelineConfig
from flows.networks import feature_space, load_networks, requested_spaces
from flows.plan import extractable_spaces
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


def check_rerun(store: str, config: PipelineConfig) -> None:
    """Raise what `rerun` would raise for a folder that is no store, absent weights or a wrong device."""
    for manifest in FeatureStore(store).manifests():
        load_networks(extractable_spaces(manifest), config)
