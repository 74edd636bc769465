"""How the embedding is trained and evaluated: the sections `words`, `train` and `evaluate` of `pipeline.yaml`.

Defaults are the published ones, those of `embedding.training_options`; a test says so. That module itself brings
PyTorch with it, and `reeldex status` reads a configuration too.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from reeldex.flows.config.datasets import Count, NotNegative, Rate
from reeldex.flows.config.section import Section

# What each of the random generators takes.
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class TrainingDataset(StrEnum):
    """The data sets that can be trained on, by their names in `embedding.datasets.registry`."""

    HOWTO100M = "howto100m"
    MSRVTT = "msrvtt"
    YOUCOOK2 = "youcook2"
    LSMDC = "lsmdc"
    EPIC = "epic"
    EPIC_RETRIEVAL = "epic-retrieval"


class TestSet(StrEnum):
    """The data sets that can be evaluated on."""

    __test__ = False  # no test of pytest's, for all its name

    MSRVTT = "msrvtt"
    YOUCOOK2 = "youcook2"
    LSMDC = "lsmdc"
    EPIC = "epic"
    EPIC_RETRIEVAL = "epic-retrieval"


class EpicPresetName(StrEnum):
    """The four published command lines of fine-tuning on EPIC-KITCHENS."""

    NARRATION_2_BEFORE = "narration-2-before"
    NARRATION_3_BEFORE = "narration-3-before"
    VERB_2 = "verb-2"
    VERB_3 = "verb-3"


class WordFileFormat(StrEnum):
    """The formats of files of word vectors; auto tells them apart by their beginning."""

    AUTO = "auto"
    BINARY = "binary"
    TEXT = "text"
    TEXT_WITHOUT_COUNTS = "text-without-counts"
    GENSIM = "gensim"


class WordTrainingConfig(Section):
    """How word vectors are learnt from one's own captions."""

    dim: Count = Field(default=300, title="Size", description="Numbers in a vector.")
    window: Count = Field(default=5, title="Window", description="Words to either side.")
    min_count: Count = Field(default=1, title="Least count", description="Times that a word must occur.")
    epochs: Count = Field(default=20, title="Epochs", description="Passes over the captions.")
    seed: Seed = Field(default=1, title="Seed", description="Another seed gives other vectors.")


class WordsConfig(Section):
    """Where word vectors lie, or how they are learnt."""

    file: Path | None = Field(
        default=None,
        title="File",
        description="Such as GoogleNews-vectors-negative300.bin. Empty is word-vectors.bin beside the checkpoint.",
    )
    format: WordFileFormat = Field(
        default=WordFileFormat.AUTO, title="Format of the file", description="auto tells it by the file's beginning."
    )
    cache_folder: Path | None = Field(
        default=None,
        title="Cache folder",
        description="A file is converted once. Empty is ~/.cache/reeldex/word-vectors, which XDG_CACHE_HOME moves.",
    )
    train_own: bool = Field(
        default=False,
        title="Train own",
        description="Without a file: learn word vectors from the captions that are trained on.",
    )
    training: WordTrainingConfig = Field(default_factory=WordTrainingConfig, title="Training of one's own")


class ModelConfig(Section):
    """Sizes of a new model; one that begins with a checkpoint has the checkpoint's."""

    embed_dim: Count = Field(default=6144, title="Common space", description="Numbers in a vector of it.")
    sentence_dim: NotNegative = Field(
        default=0, title="Sentence", description="Numbers in its vector; 0 is as many as in the common space."
    )
    max_words: Count = Field(default=20, title="Words", description="Words of a sentence that count.")


Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d+)$")]


class TrainConfig(Section):
    """How the embedding is trained."""

    model: ModelConfig = Field(default_factory=ModelConfig, title="Model")
    preset: EpicPresetName | None = Field(
        default=None,
        title="Preset",
        description="The settings of a published EPIC-KITCHENS command line, in place of those given here.",
    )
    epochs: Count = Field(default=20, title="Epochs", description="Passes over the data set.")
    batch_size: Count = Field(
        default=256, title="Batch size", description="Samples a step, of all processes; a sample has n_pair pairs."
    )
    learning_rate: Rate = Field(default=1e-4, title="Learning rate", description="Adam's, in the first epoch.")
    lr_decay: Rate = Field(
        default=0.9, title="Decay", description="What the learning rate is multiplied with after each epoch."
    )
    loss: Literal["ranking", "triplet"] = Field(
        default="ranking", title="Loss", description="ranking over pairs, or triplet over verb classes."
    )
    margin: Rate = Field(
        default=0.1, title="Margin", description="By which a right pair is to score above a wrong one."
    )
    negative_weighting: bool = Field(
        default=True, title="Negative weighting", description="Weight negatives of the same video and of others."
    )
    hard_negative_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, title="Share of the same video", description="Weight of a batch's negatives of the same video."
    )
    seed: Seed = Field(default=1, title="Seed", description="Of weights, of the order and of draws.")
    workers: NotNegative = Field(default=0, title="Workers", description="Processes that read samples ahead.")
    device: Device = Field(default="auto", title="Device", description="auto is CUDA if there is any, else the CPU.")
    mixed_precision: bool = Field(default=False, title="Mixed precision", description="CUDA only.")
    compile_model: bool = Field(default=False, title="Compile", description="torch.compile: faster after a slow start.")
    evaluate_on: tuple[TestSet, ...] = Field(
        default=(), title="Evaluate on", description="Test sets of the evaluations while training, and at its end."
    )
    evaluate_every: NotNegative = Field(default=1, title="Evaluate every", description="Epochs between; 0 is never.")
    checkpoint_every_steps: NotNegative = Field(
        default=0, title="Checkpoint every", description="Steps between within an epoch; 0 is at its end alone."
    )
    log_every: Count = Field(default=10, title="Scalars every", description="Steps between TensorBoard scalars.")
    best_by: str | None = Field(
        default=None,
        title="Best by",
        description="Figure such as msrvtt/text_to_video/recall_at_10. Empty: mean recall at 10, or else the loss.",
    )


class EvaluateConfig(Section):
    """How a checkpoint is evaluated."""

    batch_size: Count = Field(
        default=256, title="Batch size", description="Changes speed and memory; figures but by rounding."
    )
    resamples: NotNegative = Field(
        default=1000, title="Resamples", description="For the bootstrap 95 % intervals; 0 is none."
    )
    seed: Seed = Field(default=0, title="Seed", description="Of the intervals.")
    device: Device = Field(default="auto", title="Device", description="auto is CUDA if there is any, else the CPU.")
    max_words: Count = Field(
        default=20, title="Words of a sentence that count", description="For weights that do not say it themselves."
    )
    ranking_length: Count = Field(default=10, title="Length of a ranking", description="Clips listed a sentence.")
