"""What a run requires of weights, device, ffmpeg and the features that its store has. No network is loaded."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from reeldex.devices import has_driver, require_cuda, usable_devices
from reeldex.extractors.fingerprint import DECODE, decode_fingerprint, fingerprint
from reeldex.extractors.options import Precision, WeightsChoice
from reeldex.extractors.weights import verify
from reeldex.flows.config.execution import Engine
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.execution.workers import POOL
from reeldex.flows.extraction.networks import extractor_record
from reeldex.flows.extraction.plan import stored_spaces
from reeldex.flows.progress.downloads import find_or_fetch_shown
from reeldex.storage.schema import FeatureSpace

if TYPE_CHECKING:
    from reeldex.extractors.registry import ExtractorRecord
    from reeldex.storage.store import FeatureStore

log = logging.getLogger(__name__)


def weights_hashes(spaces: Sequence[str], config: PipelineConfig) -> dict[str, str]:
    """Return the SHA-256 of the published weights of these spaces, downloaded if necessary. Raises WeightsError."""
    hashes = {}
    for space in spaces:
        record, weights = extractor_record(space)
        if weights is WeightsChoice.PRETRAINED:
            local = config.weights.files.get(record.spec.name)
            hashes[space] = verify(find_or_fetch_shown(record.pretrained, local, config.weights.folder))
    return hashes


def require_engine(config: PipelineConfig) -> None:
    """Raise UsageError for an engine that cannot run any shard: it is not installed, or no cluster or node is there.

    InfrastructureError for a cluster that does not answer.
    """
    if config.execution.engine is Engine.RAY:
        from reeldex.flows.execution.cluster_workers import require_workers

        require_workers(config.execution, config.compute.device)


def require_device(config: PipelineConfig, *, ask_worker: bool = True) -> None:
    """Raise DeviceError or UsageError for a device that is not available or does not support the precision.

    Only a worker process can list CUDA devices. On a cluster, its nodes are asked when the run starts.
    """
    device, precision = config.compute.device, config.compute.precision
    # Only the worker resolves `auto`.
    if device != "auto" and precision not in (Precision.AUTO, Precision.FP32):
        require_cuda(f"Precision {precision}", device, "Use --precision fp32 or auto.")
    if device in ("auto", "cpu") or not ask_worker or config.execution.engine is not Engine.LOCAL:
        return
    if not has_driver():
        usable_devices(device)  # raises, without the seconds that a worker process needs to start
    POOL.devices(device)


def require_fitting_store(
    store: FeatureStore, config: PipelineConfig, spaces: Sequence[str], hashes: dict[str, str], *, decode: bool = True
) -> None:
    """Raise FingerprintError if the store's features in these spaces were made with other settings.

    With `decode`, its options are compared, too. What only a loaded network knows, such as the precision that `auto`
    chooses on CUDA, is checked in the worker.
    """
    for stored in stored_spaces(store, spaces):
        if stored.fingerprint:
            record, _ = extractor_record(stored.name)
            expected = _expected(record, hashes.get(stored.name), config)
            if decode:
                expected |= decode_fingerprint(config.decode)
            fixed = {key: value for key, value in stored.fingerprint.items() if key != DECODE or not decode}
            store.require_fingerprint(FeatureSpace(stored.name, {**fixed, **expected}))


def warn_of_another_ffmpeg(store: FeatureStore) -> None:
    """Log a warning if decoding uses another version of ffmpeg here than for the store's features."""
    from reeldex.extractors import ffmpeg

    versions = store.ffmpeg_versions()
    if versions and ffmpeg.version() not in versions:
        log.warning(
            "ffmpeg %s is used here, but the store's features were decoded with %s: a few files have different frames "
            "in each version. Use the same ffmpeg, or another store.",
            ffmpeg.version(),
            ", ".join(versions),
        )


def _expected(record: ExtractorRecord, weights_sha256: str | None, config: PipelineConfig) -> dict[str, Any]:
    """Return the parts of a fingerprint that are known without loading the network."""
    precision = config.compute.precision
    if precision is Precision.AUTO and config.compute.device == "cpu":
        precision = Precision.FP32
    whole = fingerprint(record.spec, weights_sha256 or "", precision)
    known: Collection[str] = {
        "extractor",
        "rows",
        *(["weights"] if weights_sha256 else []),
        *(["precision"] if precision is not Precision.AUTO else []),
    }
    return {key: value for key, value in whole.items() if key in known}
