"""Options of the text-video embedding: words, model, training, evaluation. Nothing else: they are cheap to import."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from reeldex.options import Count, NotNegative, Options, Positive, Seed, Share


class WordFormat(StrEnum):
    """The formats of files of word vectors; AUTO detects them by their first lines."""

    AUTO = "auto"
    BINARY = "binary"
    TEXT = "text"
    TEXT_WITHOUT_COUNTS = "text-without-counts"
    GENSIM = "gensim"


class WordTraining(Options):
    """How word vectors are learned from one's own captions."""

    dim: Annotated[Count, Field(title="Vector dimension", description="Dimension of the word vectors.")] = 300
    window: Annotated[Count, Field(title="Window", description="Words to either side.")] = 5
    min_count: Annotated[
        Count, Field(title="Minimum count", description="Occurrences that a word needs to get a vector.")
    ] = 1
    epochs: Annotated[Count, Field(title="Epochs", description="Passes over the captions.")] = 20
    seed: Annotated[Seed, Field(title="Seed", description="Another seed gives other vectors.")] = 1


class WordsOptions(Options):
    """Where word vectors are stored, or how they are learned."""

    file: Annotated[
        Path | None,
        Field(
            title="Word vectors",
            description="Such as GoogleNews-vectors-negative300.bin. Without one: word-vectors.bin beside the "
            "checkpoint, or the file that it was trained with, or GoogleNews' in the folder of a data set.",
        ),
    ] = None
    format: Annotated[
        WordFormat,
        Field(
            title="File format",
            description="auto (detected by the first lines), binary (word2vec), text, text-without-counts (GloVe) or "
            "gensim.",
        ),
    ] = WordFormat.AUTO
    unchecked: Annotated[
        bool,
        Field(
            title="Unchecked",
            description="Use these word vectors with a plain state dict, which does not record those it was trained "
            "with. Without it, only GoogleNews' are accepted, with which the published checkpoint was trained.",
        ),
    ] = False
    cache_folder: Annotated[
        Path | None,
        Field(
            title="Cache folder",
            description="Folder for converted word vectors; each file is converted once. null: "
            "~/.cache/reeldex/word-vectors, which XDG_CACHE_HOME moves.",
        ),
    ] = None
    train_own: Annotated[
        bool,
        Field(
            title="Learn word vectors",
            description="Without a file: learn word vectors from the training captions.",
        ),
    ] = False
    training: Annotated[WordTraining, Field(title="Learning from captions")] = WordTraining()


class ModelOptions(Options):
    """Sizes of a new model; one that starts from a checkpoint has the checkpoint's."""

    embed_dim: Annotated[
        Count, Field(title="Embedding dimension", description="Dimension of the joint embedding, of a new model.")
    ] = 6144
    sentence_dim: Annotated[
        NotNegative,
        Field(title="Sentence dimension", description="Dimension of a sentence before the gated unit; 0 is embed_dim."),
    ] = 0
    max_words: Annotated[
        Count, Field(title="Max words per sentence", description="Further words of a sentence are ignored.")
    ] = 20


DeviceName = Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d+)$")]


class ComputeDevice(Options):
    """The one device that a network runs on."""

    device: Annotated[
        DeviceName,
        Field(
            title="Device",
            description="auto (CUDA if available, else the CPU), cpu, cuda or cuda:N. With torchrun, cuda is one "
            "device per process.",
        ),
    ] = "auto"


class LossOptions(Options):
    """The loss of a batch."""

    loss: Annotated[
        Literal["ranking", "triplet"],
        Field(
            title="Loss",
            description="ranking over pairs, or triplet over verb classes (which verb_only of epic implies).",
        ),
    ] = "ranking"
    margin: Annotated[
        Positive, Field(title="Margin", description="Margin by which a right pair should outscore a wrong one.")
    ] = 0.1
    negative_weighting: Annotated[
        bool,
        Field(
            title="Negative weighting",
            description="Weight negatives of the same video and of other videos by hard_negative_rate.",
        ),
    ] = True
    hard_negative_rate: Annotated[
        Share,
        Field(
            title="Intra-video negative weight",
            description="Share of the negatives' weight that those of the same video have.",
        ),
    ] = 0.5


class TrainingOptions(ComputeDevice, LossOptions):
    """How to train; the defaults are the published ones."""

    epochs: Annotated[Count, Field(title="Epochs", description="Passes over the data set.")] = 20
    batch_size: Annotated[
        Count,
        Field(
            title="Batch size",
            description="Samples per step, of all processes together; a sample has n_pair pairs.",
        ),
    ] = 256
    learning_rate: Annotated[Positive, Field(title="Learning rate", description="Adam's, in the first epoch.")] = 1e-4
    lr_decay: Annotated[
        Positive, Field(title="LR decay per epoch", description="Factor of the learning rate after each epoch.")
    ] = 0.9
    seed: Annotated[Seed, Field(title="Seed", description="Seed of the weights, the order and the draws.")] = 1
    workers: Annotated[
        NotNegative,
        Field(title="Workers", description="Processes that read samples ahead; 0 reads in the training process."),
    ] = 0
    mixed_precision: Annotated[
        bool, Field(title="Mixed precision", description="float16 in the network; CUDA only.")
    ] = False
    compile_model: Annotated[bool, Field(title="Compile", description="torch.compile: faster after a slow start.")] = (
        False
    )
    evaluate_every: Annotated[
        NotNegative, Field(title="Evaluate every", description="Epochs between evaluations; 0: never.")
    ] = 1
    checkpoint_every_steps: Annotated[
        NotNegative,
        Field(
            title="Checkpoint every",
            description="Steps between checkpoints within an epoch; 0: only at epoch end.",
        ),
    ] = 0
    log_every: Annotated[Count, Field(title="Log every", description="Steps between TensorBoard scalars.")] = 10
    best_by: Annotated[
        str | None,
        Field(
            title="Best by",
            description="Figure that selects the best checkpoint, such as msrvtt/text_to_video/recall_at_10. null: "
            "the recall at 10, text to video, of the validation split; without one the mean of all test sets; without "
            "an evaluation the loss.",
        ),
    ] = None
    validation_share: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            title="Validation share",
            description="Share of the training videos held out to select the best checkpoint by, instead of the test "
            "sets. 0: none.",
        ),
    ] = 0.0


class EvaluationOptions(Options):
    """How a checkpoint is evaluated."""

    batch_size: Annotated[
        Count,
        Field(title="Batch size", description="Changes speed and memory; figures only by rounding."),
    ] = 256
    resamples: Annotated[
        NotNegative,
        Field(title="Resamples", description="Bootstrap resamples for the 95 % intervals; 0: no intervals."),
    ] = 1000
    seed: Annotated[Seed, Field(title="Seed", description="Seed of the intervals.")] = 0
