"""Options of the two readers of EPIC-KITCHENS, and the published command lines as presets. Nothing else."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from reeldex.embedding.datasets.options import PROTOCOL_DESCRIPTION, TestedOptions, TrainableOptions
from reeldex.options import Count, NotNegative


class EpicLabelOptions(TrainableOptions):
    """EPIC-KITCHENS by label files: one label for each 3-D row; `folder` holds `train` and `test`."""

    train_labels: Annotated[
        Path | None,
        Field(
            title="Training labels",
            description="Folder of <video id>.txt, one label per line for each 3-D row; or of its subfolders verb and "
            "narration.",
        ),
    ] = None
    test_labels: Annotated[Path | None, Field(title="Test labels", description="The same for the test videos.")] = None
    verb_classes: Annotated[
        Path | None,
        Field(
            title="Verb classes",
            description="Csv of id, key and instances (EPIC-KITCHENS-55: verb_id, class_key, verbs); null makes each "
            "verb a class.",
        ),
    ] = None
    labels: Annotated[
        Literal["verb", "narration"],
        Field(title="Labels", description="verb or narration: which labels are the captions."),
    ] = "narration"
    verb_only: Annotated[
        bool,
        Field(title="Verb classes only", description="Train on verb classes by the triplet loss; needs labels: verb."),
    ] = False
    clips_per_sample: Annotated[
        Count, Field(title="Clips per sample", description="Consecutive segments joined to a sample.")
    ] = 1
    clips_before: Annotated[
        int,
        Field(
            ge=0,
            le=1,
            title="Clips before",
            description="0 joins the segments that follow a segment, 1 those ahead of it.",
        ),
    ] = 0
    clips_filter_length: Annotated[
        NotNegative,
        Field(title="Clip length filter", description="Segments of at most so many rows are dropped."),
    ] = 0

    @model_validator(mode="after")
    def _verbs_have_classes(self) -> Self:
        if self.verb_only and self.labels != "verb":
            raise ValueError("verb_only trains on classes of verbs; it needs labels: verb")
        return self

    @classmethod
    def published(cls, folder: Path) -> Self:
        """Return the folders as the published data name them."""
        return cls(train_labels=folder / "train", test_labels=folder / "test")


class EpicRetrievalOptions(TestedOptions):
    """EPIC-KITCHENS-100 multi-instance retrieval, by its official annotations.

    `features` holds the whole videos under their official ids, such as P01_11.
    """

    protocol: Annotated[
        Literal["test"] | None,
        Field(title="Protocol", description=PROTOCOL_DESCRIPTION.format("test (9668 clips, 3842 sentences)")),
    ] = None
    train_csv: Annotated[
        Path | None,
        Field(
            title="Training annotations",
            description="EPIC_100_retrieval_train.csv, or EPIC_train_action_labels.csv of EPIC-KITCHENS-55.",
        ),
    ] = None
    test_csv: Annotated[Path | None, Field(title="Test annotations", description="EPIC_100_retrieval_test.csv")] = None
    test_sentence_csv: Annotated[
        Path | None,
        Field(
            title="Test sentences",
            description="EPIC_100_retrieval_test_sentence.csv; null: the distinct narrations of test_csv.",
        ),
    ] = None

    @classmethod
    def published(cls, folder: Path) -> Self:
        """Return the files as the official annotations name them."""
        return cls(
            train_csv=folder / "EPIC_100_retrieval_train.csv",
            test_csv=folder / "EPIC_100_retrieval_test.csv",
            test_sentence_csv=folder / "EPIC_100_retrieval_test_sentence.csv",
        )


class EpicPresetName(StrEnum):
    """The four published command lines of fine-tuning on EPIC-KITCHENS."""

    NARRATION_2_BEFORE = "narration-2-before"
    NARRATION_3_BEFORE = "narration-3-before"
    VERB_2 = "verb-2"
    VERB_3 = "verb-3"


class EpicPreset(NamedTuple):
    """What a published command line sets; its other settings are the published defaults."""

    clips_per_sample: int
    clips_before: int
    labels: Literal["verb", "narration"]
    epochs: int


PRESETS = MappingProxyType(
    {
        EpicPresetName.NARRATION_2_BEFORE: EpicPreset(2, 1, "narration", epochs=75),
        EpicPresetName.NARRATION_3_BEFORE: EpicPreset(3, 1, "narration", epochs=75),
        EpicPresetName.VERB_2: EpicPreset(2, 0, "verb", epochs=100),
        EpicPresetName.VERB_3: EpicPreset(3, 0, "verb", epochs=100),
    }
)
"""The four published command lines by name; all start from the published HowTo100M checkpoint."""
