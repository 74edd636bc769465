"""What can be known to be wrong before a run starts, so that it is said at once. No network is loaded for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reeldex.extractors.errors import DeviceError
from reeldex.extractors.fingerprint import fingerprint
from reeldex.extractors.options import Precision, WeightsChoice
from reeldex.extractors.weights import find_or_fetch, verify
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.execution.workers import POOL
from reeldex.flows.extraction.networks import extractor_record, requested_records, requested_spaces
from reeldex.flows.extraction.plan import plan, stored_spaces, tasks_for, unfinished
from reeldex.flows.extraction.run_report import RunReport, count_found, present_outcomes, sum_up
from reeldex.flows.extraction.sources import find_settled_videos
from reeldex.storage.schema import FeatureSpace
from reeldex.storage.store import FeatureStore

if TYPE_CHECKING:
    from reeldex.extractors.registry import ExtractorRecord


def check_extract(source: str, store: str, config: PipelineConfig) -> None:
    """Raise what `extract` would raise for a bad source, absent weights, a wrong device or an unfit store."""
    find_settled_videos(source, config.extract)
    require_weights(config)
    require_device(config)
    require_fitting_store(FeatureStore(store, create=True), config)


def require_weights(config: PipelineConfig) -> None:
    """Raise WeightsError for published weights that are wanted and neither here nor to be fetched, or damaged."""
    if config.extract.weights is WeightsChoice.PRETRAINED:
        for record in requested_records(config):
            find_or_fetch(record.pretrained, config.weights.files.get(record.spec.name), config.weights.folder)


def require_device(config: PipelineConfig) -> None:
    """Raise DeviceError or UsageError for a device that is not there, or cannot do the precision asked for."""
    device, precision = config.compute.device, config.compute.precision
    if device == "cpu" and precision in (Precision.FP16, Precision.BF16):
        raise DeviceError(f"Precision {precision} needs a CUDA device, and this run is on cpu. Use fp32 or auto.")
    if device not in ("auto", "cpu"):
        POOL.devices(device)


def require_fitting_store(store: FeatureStore, config: PipelineConfig, spaces: Sequence[str] | None = None) -> None:
    """Raise FingerprintError if the store's features, in these spaces or those of `config`, were made otherwise.

    What only a loaded network knows, such as the precision that `auto` chooses on CUDA, is left to the worker.
    """
    for held in stored_spaces(store, spaces or requested_spaces(config)):
        if held.fingerprint:
            record, weights = extractor_record(held.name)
            expected = _expected(record, weights, config)
            store.require_fingerprint(FeatureSpace(held.name, {**held.fingerprint, **expected}))


def _expected(record: ExtractorRecord, weights: WeightsChoice, config: PipelineConfig) -> dict[str, Any]:
    """Return the parts of a fingerprint that are known without loading the network."""
    sha256 = None
    if weights is WeightsChoice.PRETRAINED:
        local = config.weights.files.get(record.spec.name)
        sha256 = verify(find_or_fetch(record.pretrained, local, config.weights.folder))
    precision = config.compute.precision
    if precision is Precision.AUTO and config.compute.device == "cpu":
        precision = Precision.FP32
    whole = fingerprint(record.spec, sha256 or "", precision)
    known = {"extractor", "rows"}
    known |= {"weights"} if sha256 else set()
    known |= {"precision"} if precision is not Precision.AUTO else set()
    return {key: value for key, value in whole.items() if key in known}


def up_to_date(source: str, store: str, config: PipelineConfig) -> RunReport | None:
    """Return the report on a run that has nothing to do, or None if there is, or may be, something to do.

    Loads no network and starts no run: whether all is there shows in the names of the spaces and the files alone.
    """
    if not Path(store).is_dir() or not any(Path(store).iterdir()):
        return None
    found = find_settled_videos(source, config.extract)
    names = requested_spaces(config)
    feature_store = FeatureStore(store, create=True)  # refuses a folder with anything else in it
    growth = plan(feature_store, found.videos, names, config.extract.shard_videos)
    if growth.new_shards or tasks_for(feature_store, found.videos, names):
        return None
    outcomes = present_outcomes(feature_store, found.videos)
    return sum_up(feature_store, [], {}, outcomes, count_found(growth, found))


def check_rerun(store: str, config: PipelineConfig, reasons: Sequence[str]) -> RunReport | None:
    """Return the report on a rerun that has nothing to do; None if there is something.

    Raises what `rerun` would raise for a folder that is no store, absent weights or other settings.
    """
    feature_store = FeatureStore(store)
    tasks = unfinished(feature_store, reasons)
    if not tasks:
        return sum_up(feature_store, [], {}, present_outcomes(feature_store))
    require_rerunnable(feature_store, sorted({name for task in tasks for name in task.spaces}), config)
    return None


def require_rerunnable(store: FeatureStore, spaces: Sequence[str], config: PipelineConfig) -> None:
    """Raise UsageError for a space that nothing here extracts; WeightsError and FingerprintError as for `extract`."""
    for space in spaces:
        record, weights = extractor_record(space)
        if weights is WeightsChoice.PRETRAINED:
            find_or_fetch(record.pretrained, config.weights.files.get(record.spec.name), config.weights.folder)
    require_device(config)
    require_fitting_store(store, config, spaces)
