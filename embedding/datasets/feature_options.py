"""Options of where features are stored. Nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from reeldex.options import Options, Positive
from reeldex.storage.location import StorePath

PUBLISHED_ROWS_PER_SECOND = (1.0, 1.5)
"""Rows per second of the published extractors, 2-D and 3-D."""


Space2d = Annotated[
    str | None,
    Field(
        title="2-D space",
        description="2-D feature space; null: the store's only one of resnet152. Of pipelines, see docs/networks.md.",
    ),
]
Space3d = Annotated[
    str | None,
    Field(
        title="3-D space",
        description="3-D feature space; null: the store's only one of resnext101_3d. Of pipelines, see "
        "docs/networks.md.",
    ),
]


class FeatureLocation(Options):
    """Where rows of features are stored: in a store of reeldex, or in one folder of .npy files per stream."""

    store: Annotated[StorePath | None, Field(title="Store", description="Folder of a feature store, or its URL.")] = (
        None
    )
    space_2d: Space2d = None
    space_3d: Space3d = None
    folder_2d: Annotated[
        Path | None, Field(title="2-D folder", description="Instead of a store: 2-D features, one .npy per video.")
    ] = None
    folder_3d: Annotated[
        Path | None, Field(title="3-D folder", description="And 3-D features, one .npy per video.")
    ] = None
    rows_per_second: Annotated[
        tuple[Positive, Positive],
        Field(title="Rows per second", description="Of the two folders, 2-D and 3-D; a store records its own."),
    ] = PUBLISHED_ROWS_PER_SECOND
    skip_damaged: Annotated[
        bool,
        Field(
            title="Skip damaged rows",
            description="Leave out the rows of a store that may show damaged pictures; published results use all rows.",
        ),
    ] = False

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        folders = (self.folder_2d, self.folder_3d)
        if self.store is not None and any(folders):
            raise ValueError("features come from a store or from folders of .npy files, not from both")
        if self.store is None and not all(folders):
            raise ValueError("features need a store, or folder_2d and folder_3d")
        if self.store is None and self.skip_damaged:
            raise ValueError("skip_damaged needs a store: .npy files do not record which rows may be damaged")
        return self
