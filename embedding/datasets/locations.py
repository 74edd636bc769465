"""Opens a data set's features where a user says they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.embedding.datasets.readers import VectorReader, WholeVideoReader, load_vectors
from reeldex.embedding.errors import DatasetError
from reeldex.embedding.features import (
    FeatureSource,
    NpyFeatures,
    StoreFeatures,
    features_readable,
)
from reeldex.storage.store import FeatureStore


def open_features(location: FeatureLocation, paths: Mapping[str, str] | None = None) -> FeatureSource:
    """Open the features; `paths` gives each video's .npy file within the folders. Raises FeaturesError.

    Raises FeaturesUnreadableError where the system does not allow reading them.
    """
    if location.store is not None:
        with features_readable():
            return StoreFeatures(
                FeatureStore(location.store),
                location.space_2d,
                location.space_3d,
                skip_damaged=location.skip_damaged,
            )
    if location.folder_2d is None or location.folder_3d is None:
        raise AssertionError  # refused when the location was made
    return NpyFeatures((location.folder_2d, location.folder_3d), paths, location.rows_per_second)


def required(path: Path | None, option: str, purpose: str) -> Path:
    """Return the path of a required option; raises DatasetError."""
    if path is None:
        raise DatasetError(f"{purpose} needs {option}. Set it, or the folder with files under their published names.")
    return path


def whole_videos(
    features: FeatureLocation | None, file: Path | None, option: str, purpose: str
) -> VectorReader | WholeVideoReader:
    """Open vectors of whole videos: a location's rows pooled, or else a published .pth file."""
    if features is not None:
        return WholeVideoReader(open_features(features))
    return load_vectors(required(file, f"{option}, or a store with features", purpose))
