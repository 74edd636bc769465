"""Loaded networks of feature spaces, each loaded once per process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reeldex.errors import UsageError
from reeldex.extractors.errors import UnknownExtractorError
from reeldex.extractors.fingerprint import decode_fingerprint
from reeldex.extractors.options import DecodeOptions, NetworkOptions, WeightsChoice
from reeldex.extractors.registry import ExtractorRecord, extractor, extractor_of_space
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.storage.schema import FeatureSpace

if TYPE_CHECKING:
    from reeldex.extractors.network import Network


def requested_records(config: PipelineConfig) -> list[ExtractorRecord]:
    """Return the extractors that `config` asks for.

    Raises UsageError for an unknown or repeated one, and InvalidExtractorError for one that cannot be used.
    """
    names = config.extract.extractors
    if len(set(names)) < len(names):
        raise UsageError(f"extract.extractors contains duplicates: {', '.join(names)}.")
    try:
        for name in config.weights.files:
            extractor(name)
        return [extractor(name) for name in names]
    except UnknownExtractorError as error:
        raise UsageError(str(error)) from error


def requested_spaces(config: PipelineConfig) -> tuple[str, ...]:
    """Return the names of the feature spaces that `config` asks for. Raises UsageError for an unknown extractor."""
    return tuple(record.space(config.extract.weights) for record in requested_records(config))


def extractor_record(space: str) -> tuple[ExtractorRecord, WeightsChoice]:
    """Return the extractor and weights of a feature space. Raises UsageError if no registered extractor makes it."""
    try:
        return extractor_of_space(space)
    except UnknownExtractorError as error:
        raise UsageError(
            f"No registered extractor makes the feature space {space!r}: {error} Imported features can be "
            "imported again, not extracted."
        ) from error


def load_networks(spaces: Sequence[str], config: PipelineConfig) -> list[Network]:
    """Return the networks of these feature spaces, cached in this process.

    Raises UsageError for a space that no extractor makes; InvalidExtractorError, WeightsError or DeviceError as loading
    does.
    """
    from reeldex.extractors.network import cached_network

    networks = []
    for space in spaces:
        record, weights = extractor_record(space)
        options = NetworkOptions(
            weights=weights,
            weights_file=config.weights.files.get(record.spec.name),
            weights_folder=config.weights.folder,
            device=config.compute.device,
            precision=config.compute.precision,
            runtime=config.compute.runtime,
            batch_rows=config.compute.batch_rows,
        )
        networks.append(cached_network(record.spec.name, options))
    return networks


def feature_space(network: Network, decode: DecodeOptions = DecodeOptions()) -> FeatureSpace:  # noqa: B008 - frozen
    """Return the feature space of a network on frames that are decoded in this way, with its fingerprint."""
    return FeatureSpace(network.space, {**network.fingerprint, **decode_fingerprint(decode)})
