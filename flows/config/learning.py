"""The sections `words`, `train` and `evaluate` of `pipeline.yaml`: the embedding's options, and what a run adds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reeldex.embedding.datasets.epic_options import EpicPresetName
from reeldex.embedding.datasets.options import TestSet, TrainingDataset
from reeldex.embedding.options import (
    ComputeDevice,
    EvaluationOptions,
    ModelOptions,
    TrainingOptions,
    WordFormat,
)
from reeldex.embedding.options import WordsOptions as WordsConfig
from reeldex.options import Count

__all__ = ["EpicPresetName", "EvaluateConfig", "TestSet", "TrainConfig", "TrainingDataset", "WordFormat", "WordsConfig"]


class TrainConfig(TrainingOptions):
    """Training of the embedding. Defaults are the published hyperparameters and sizes."""

    model: Annotated[ModelOptions, Field(title="Model")] = ModelOptions()
    preset: Annotated[
        EpicPresetName | None,
        Field(
            title="Preset",
            description="Settings of a published EPIC-KITCHENS command line (narration-2-before, narration-3-before, "
            "verb-2 or verb-3), which override those given here and in datasets.epic.",
        ),
    ] = None
    evaluate_on: Annotated[
        tuple[TestSet, ...],
        Field(
            title="Test sets",
            description="Test sets (defined in pipeline.yaml) that are evaluated during training and at its end: "
            "msrvtt, youcook2, lsmdc, epic, epic-retrieval, captions, crosstask.",
        ),
    ] = ()


class EvaluateConfig(EvaluationOptions, ComputeDevice):
    """Evaluation of a checkpoint."""

    max_words: Annotated[
        Count, Field(title="Max words per sentence", description="For checkpoints without this setting.")
    ] = ModelOptions().max_words
    ranking_length: Annotated[
        Count, Field(title="Ranking length", description="Clips listed per sentence in a ranking.")
    ] = 10
