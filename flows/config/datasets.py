"""The section `datasets` of `pipeline.yaml`: the options of every data set, by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from reeldex.embedding.datasets.captions_options import CaptionsOptions
from reeldex.embedding.datasets.crosstask_options import CrosstaskOptions
from reeldex.embedding.datasets.epic_options import EpicLabelOptions, EpicRetrievalOptions
from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.embedding.datasets.howto100m_options import Howto100mOptions
from reeldex.embedding.datasets.options import LsmdcOptions, MsrvttOptions, Youcook2Options
from reeldex.options import Options
from reeldex.storage.location import store_path

Spaces = tuple[str | None, str | None]
"""A 2-D and a 3-D feature space; None for the store's only one of the HowTo100M paper's network."""


class DatasetsConfig(Options):
    """Data sets to train and evaluate on. docs/datasets.md says what each file holds."""

    howto100m: Annotated[Howto100mOptions, Field(title="HowTo100M")] = Howto100mOptions()
    msrvtt: Annotated[MsrvttOptions, Field(title="MSR-VTT")] = MsrvttOptions()
    youcook2: Annotated[Youcook2Options, Field(title="YouCook2")] = Youcook2Options()
    lsmdc: Annotated[LsmdcOptions, Field(title="LSMDC")] = LsmdcOptions()
    epic: Annotated[EpicLabelOptions, Field(title="EPIC-KITCHENS by label files")] = EpicLabelOptions()
    epic_retrieval: Annotated[EpicRetrievalOptions, Field(title="EPIC-KITCHENS-100 multi-instance retrieval")] = (
        EpicRetrievalOptions()
    )
    captions: Annotated[CaptionsOptions, Field(title="Captions of one's own")] = CaptionsOptions()
    crosstask: Annotated[CrosstaskOptions, Field(title="CrossTask step localization")] = CrosstaskOptions()

    def with_store(self, dataset: str, store: str, spaces: Spaces = (None, None)) -> DatasetsConfig:
        """Return this section with a data set's features in a store, with the spaces and skip_damaged set for it.

        `spaces` are the 2-D and the 3-D space where none is set.
        """
        section = getattr(self, key := _key(dataset))
        kept = {"space_2d", "space_3d", "skip_damaged"}
        settings = {} if section.features is None else section.features.model_dump(include=kept, exclude_none=True)
        defaults = dict(zip(("space_2d", "space_3d"), spaces, strict=True))
        features = FeatureLocation(store=store_path(store), **{**defaults, **settings})
        return self.model_copy(update={key: section.model_copy(update={"features": features})})

    def with_folder(self, dataset: str, folder: str) -> DatasetsConfig:
        """Return this section with the folder of a data set's files."""
        section = getattr(self, key := _key(dataset))
        return self.model_copy(update={key: section.model_copy(update={"folder": Path(folder)})})


def _key(dataset: str) -> str:
    return dataset.replace("-", "_")
