"""Opens a data set's features where a user says they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reeldex.embedding.datasets.options import FeatureLocation
from reeldex.embedding.datasets.readers import VectorReader, WholeVideoReader, load_vectors
from reeldex.embedding.errors import DatasetError, require_file
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


def required_file(path: Path | None, option: str, purpose: str) -> Path:
    """Return the path of a required option; raises DatasetError if it is not given, or names no file."""
    path = required(path, option, purpose)
    require_file(path)
    return path


def require_vectors(features: FeatureLocation | None, file: Path | None, option: str, purpose: str) -> None:
    """Raise DatasetError unless there are features, or else the file of published vectors, for `whole_videos`."""
    if features is None:
        required_file(file, f"{option}, or a store with features", purpose)
    else:
        require_folders(features)


def require_folders(features: FeatureLocation) -> None:
    """Raise DatasetError if features are to come from folders of .npy files that do not exist."""
    for folder in (features.folder_2d, features.folder_3d):
        if folder is not None and not folder.is_dir():
            raise DatasetError(f"There is no folder {folder} with features. Correct the path.")


def whole_videos(
    features: FeatureLocation | None, file: Path | None, option: str, purpose: str
) -> VectorReader | WholeVideoReader:
    """Open vectors of whole videos: a location's rows pooled, or else a published .pth file."""
    if features is not None:
        return WholeVideoReader(open_features(features))
    return load_vectors(required(file, f"{option}, or a store with features", purpose))
