"""Where a data set's features lie, as a user names it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reeldex.embedding.datasets.readers import VectorReader, WholeVideoReader, load_vectors
from reeldex.embedding.errors import DatasetError
from reeldex.embedding.features import (
    PUBLISHED_ROWS_PER_SECOND,
    FeatureSource,
    NpyFeatures,
    StoreFeatures,
    features_readable,
)
from reeldex.storage.store import FeatureStore


@dataclass(frozen=True)
class FeatureLocation:
    """Rows of features: a reeldex store, or one folder of .npy files a stream.

    `space_2d` and `space_3d` name the store's spaces; None takes its only one of resnet152 and of resnext101_3d.
    `rows_per_second` (2-D, 3-D) holds for folders; a store knows its own. Raises ValueError unless either the store or
    both folders are given.
    """

    store: Path | None = None
    space_2d: str | None = None
    space_3d: str | None = None
    folder_2d: Path | None = None
    folder_3d: Path | None = None
    rows_per_second: tuple[float, float] = PUBLISHED_ROWS_PER_SECOND

    def __post_init__(self) -> None:
        folders = (self.folder_2d is not None, self.folder_3d is not None)
        if self.store is not None and any(folders):
            raise ValueError("Features come from a store or from folders of .npy files, not from both.")
        if self.store is None and not all(folders):
            raise ValueError("Features need a store, or a folder of .npy files for 2-D and one for 3-D.")
        if min(self.rows_per_second) <= 0:
            raise ValueError(f"Rows a second must be above 0, not {self.rows_per_second}.")

    def open(self, paths: Mapping[str, str] | None = None) -> FeatureSource:
        """Open the features; `paths` gives each video's .npy file within the folders. Raises FeaturesError.

        Raises FeaturesUnreadableError where the system does not let us read them.
        """
        if self.store is not None:
            with features_readable():
                return StoreFeatures(FeatureStore(self.store), self.space_2d, self.space_3d)
        if self.folder_2d is None or self.folder_3d is None:
            raise AssertionError  # refused when this was made
        return NpyFeatures((self.folder_2d, self.folder_3d), paths, self.rows_per_second)


def required(path: Path | None, option: str, purpose: str) -> Path:
    """Return a path that an option has to name; raises DatasetError."""
    if path is None:
        raise DatasetError(f"{purpose} needs {option}, which is not given. Name it, or the folder of published names.")
    return path


def whole_videos(
    features: FeatureLocation | None, file: Path | None, option: str, purpose: str
) -> VectorReader | WholeVideoReader:
    """Open vectors of whole videos: a location's rows pooled, or else a published .pth file."""
    if features is not None:
        return WholeVideoReader(features.open())
    return load_vectors(required(file, f"{option}, or a store with features", purpose))
