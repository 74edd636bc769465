"""Fields that several forms share, besides the keys of `pipeline.yaml`: type, bounds, title and description."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from reeldex.flows.config.learning import TrainingDataset
from reeldex.flows.config.pipeline import NonEmpty, Seconds, WhenBusy

Source = Annotated[
    NonEmpty,
    Field(
        title="Videos",
        description="A folder of videos, one video, a pattern, or a list (.txt, .csv, .tsv, .jsonl); or a URL.",
    ),
]
MoreSources = Annotated[
    list[NonEmpty], Field(title="More videos", description="Further folders, videos, patterns or lists.")
]
ExistingStore = Annotated[
    NonEmpty, Field(title="Store", description="Folder of the feature store, or its URL (s3://...).")
]
StoreOfDataset = Annotated[
    str,
    Field(
        title="Store",
        description="Feature store of the data set's videos. Empty: the one in the settings, or the published vectors.",
    ),
]
DataFolder = Annotated[
    str,
    Field(
        title="Data folder",
        description="Folder of the data set's files, or published for the published evaluation data. Empty: as in the "
        "settings.",
    ),
]
Checkpoint = Annotated[
    NonEmpty, Field(title="Checkpoint", description="Checkpoint of the embedding; published is the HowTo100M one.")
]
WhenStoreBusy = Annotated[
    WhenBusy,
    Field(
        title="If the store is in use",
        description="While another run uses the store: wait for it, skip this run, fail, or share its shards.",
    ),
]
LongestWait = Annotated[Seconds, Field(title="Longest wait (s)", description="How long to wait for such a run.")]

NO_TRAINING = "none"
"""The choice of a form that trains nothing."""


def _known(choice: str) -> str:
    if choice == NO_TRAINING:
        return choice
    return TrainingDataset(choice).value


TrainOn = Annotated[
    str,
    AfterValidator(_known),
    WithJsonSchema({"type": "string", "enum": [NO_TRAINING, *(each.value for each in TrainingDataset)]}),
]
