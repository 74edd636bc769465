"""Data sets and word vectors for training and evaluation, opened as configured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reeldex.devices import device_name
from reeldex.embedding.datasets.epic_options import PRESETS, EpicLabelOptions
from reeldex.embedding.options import TrainingOptions
from reeldex.errors import UsageError
from reeldex.flows.config.learning import TrainConfig
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.learning.published_files import (
    GOOGLE_NEWS,
    PUBLISHED,
    PUBLISHED_DATASETS,
    data_folder,
    is_published,
    is_published_file,
)
from reeldex.storage.store import FeatureStore

if TYPE_CHECKING:
    from reeldex.embedding.datasets.localization import EvaluatedSet
    from reeldex.embedding.datasets.records import TrainingSet
    from reeldex.embedding.training.checkpoint import Checkpoint
    from reeldex.embedding.words.vectors import WordVectors

OWN_WORD_VECTORS = "word-vectors.bin"
"""File name of word vectors trained for a training, in its folder."""


def dataset_options(dataset: str, config: PipelineConfig) -> Any:  # noqa: ANN401 - each data set has its own options
    """Return the options of a data set by its registry name, with the files of its folder filled in.

    Raises UsageError for an invalid folder, StoreError for a folder that is not a store.
    """
    section = getattr(config.datasets, dataset.replace("-", "_"))
    if section.features is not None and section.features.store is not None:
        FeatureStore(section.features.store)  # raises if there is none
    if section.folder is None:
        return section
    if is_published(section.folder) and dataset not in PUBLISHED_DATASETS:
        raise UsageError(
            f"The published evaluation data contain {', '.join(PUBLISHED_DATASETS)}, but not {dataset}. Give "
            "the folder of its files."
        )
    files = type(section).published(data_folder(section.folder, config.weights.folder))
    given = {name: value for name, value in section if name != "folder" and value is not None}
    return files.model_copy(update=given)


def require_training_samples(dataset: str, config: PipelineConfig) -> None:
    """Check quickly, by the annotations alone, that the files of a data set exist and hold one batch of samples.

    Raises UsageError or an error of the embedding.
    """
    from reeldex.embedding.datasets.registry import DATASETS
    from reeldex.embedding.training.startable import require_full_batch, require_negatives

    options, train = dataset_options(dataset, config), config.train
    count = DATASETS[dataset].sample_limit(options, train.validation_share, train.batch_size)
    if count is not None:
        require_full_batch(dataset, count, train.batch_size)
    require_negatives(train, getattr(options, "n_pair", 1))


def require_test_sets(datasets: Iterable[str], config: PipelineConfig) -> None:
    """Check quickly that the files of test sets exist. Raises UsageError or an error of the embedding."""
    from reeldex.embedding.datasets.registry import DATASETS

    for dataset in datasets:
        DATASETS[dataset].require_test_set(dataset_options(dataset, config))


def open_training_set(dataset: str, config: PipelineConfig) -> TrainingSet:
    """Open the training split of a data set. Raises UsageError or an error of the embedding."""
    from reeldex.embedding.datasets.registry import DATASETS

    return DATASETS[dataset].open_training(dataset_options(dataset, config))


def open_test_sets(datasets: Iterable[str], config: PipelineConfig) -> list[EvaluatedSet]:
    """Open the test splits of data sets. Raises UsageError or an error of the embedding."""
    from reeldex.embedding.datasets.registry import DATASETS

    return [DATASETS[dataset].open_test_set(dataset_options(dataset, config)) for dataset in dict.fromkeys(datasets)]


def training_options(dataset: str, config: PipelineConfig) -> TrainingOptions:
    """Return the training options; a data set with only verb classes uses the triplet loss."""
    given = {name: getattr(config.train, name) for name in TrainingOptions.model_fields}
    epic = config.datasets.epic
    has_classes = dataset == "epic-retrieval" or (dataset == "epic" and epic.labels == "verb")
    if dataset == "epic" and epic.verb_only:
        given["loss"] = "triplet"
    elif given["loss"] == "triplet" and not has_classes:
        raise UsageError(
            "train.loss: triplet needs verb classes: the data set epic with labels verb, or epic-retrieval."
        )
    return TrainingOptions.model_validate({**given, "device": device_name(config.train.device)})


def with_preset(config: PipelineConfig, datasets: Iterable[str] = ("epic",)) -> PipelineConfig:
    """Return the configuration with the settings of `train.preset`, if any, applied.

    Raises UsageError when the preset does not apply to any data set of the training or evaluation.
    """
    name = config.train.preset
    if name is None:
        return config
    if "epic" not in datasets:
        raise UsageError(f"train.preset: {name} is for the data set epic. Leave it out, or use that data set.")
    preset, published = PRESETS[name], TrainConfig()
    train = {
        "preset": None,
        "epochs": preset.epochs,
        "learning_rate": published.learning_rate,
        "batch_size": published.batch_size,
        "model": config.train.model.model_copy(update={"embed_dim": published.model.embed_dim}),
    }
    defaults = EpicLabelOptions()
    epic = {
        "clips_per_sample": preset.clips_per_sample,
        "clips_before": preset.clips_before,
        "labels": preset.labels,
        "clips_filter_length": defaults.clips_filter_length,
        "verb_only": defaults.verb_only,
    }
    sections = config.datasets.model_copy(update={"epic": config.datasets.epic.model_copy(update=epic)})
    return config.model_copy(update={"train": config.train.model_copy(update=train), "datasets": sections})


def words_of_checkpoint(given: str, path: Path, checkpoint: Checkpoint, config: PipelineConfig) -> WordVectors:
    """Open the word vectors of a checkpoint: `given` is what the user named, `path` its file.

    Those of the published checkpoint are downloaded with the published data, unless others are found. Raises
    UsageError, WeightsError, WordVectorsError; CheckpointMismatchError for other word vectors than it was trained with.
    """
    found = _word_file(config, [path.parent], checkpoint)
    if found is None and given == PUBLISHED:
        found = data_folder(Path(PUBLISHED), config.weights.folder) / GOOGLE_NEWS
    file = _require_file(found)
    words = open_words(file, config)
    require_words_of(checkpoint, file, words, config)
    return words


def require_words_of(checkpoint: Checkpoint, file: Path, words: WordVectors, config: PipelineConfig) -> None:
    """Raise CheckpointMismatchError for other word vectors, opened from `file`, than a checkpoint was trained with."""
    from reeldex.embedding.training.checkpoint import require_known_word_vectors, require_word_vectors

    require_word_vectors(checkpoint, words.fingerprint, words.dim)
    known = config.words.unchecked or is_published_file(file, config.weights.folder)
    require_known_word_vectors(checkpoint, words, unchecked=known)


def require_words(config: PipelineConfig, path: Path, folders: Sequence[Path] = ()) -> None:
    """Check that word vectors of the checkpoint at `path` exist, or others in `folders`. Raises UsageError.

    Its file is read only if no other word vectors are found.
    """
    among = [*folders, path.parent]
    if _word_file(config, among, None) is not None:
        word_file(config, among)
        return
    from reeldex.embedding.training.checkpoint import load_checkpoint

    word_file(config, among, load_checkpoint(path))


def require_words_of_given(given: str, path: Path, config: PipelineConfig) -> None:
    """Check that `words_of_checkpoint` will find word vectors. Raises UsageError."""
    if given == PUBLISHED and config.words.file is None:
        return  # downloaded if necessary
    require_words(config, path)


def word_file(config: PipelineConfig, folders: Iterable[Path], checkpoint: Checkpoint | None = None) -> Path:
    """Return the word vector file to use. Raises UsageError when there is none.

    In this order: the configured file; one trained for a training in one of `folders`; the one that the checkpoint was
    trained with, if it still exists; GoogleNews' in the folder of a data set.
    """
    return _require_file(_word_file(config, folders, checkpoint))


def _require_file(path: Path | None) -> Path:
    if path is None:
        raise UsageError(
            "No word vectors specified (words.file). Give --word-vectors FILE, such as "
            f"{GOOGLE_NEWS}, or, for a training, train them on its captions: --train-word-vectors."
        )
    if not path.is_file():
        raise UsageError(f"words.file: there is no file {path}. Correct the path of the word vectors.")
    return path


def _word_file(config: PipelineConfig, folders: Iterable[Path], checkpoint: Checkpoint | None) -> Path | None:
    if config.words.file is not None:
        return config.words.file
    return next((each for each in _word_files(config, folders, checkpoint) if each.is_file()), None)


def _word_files(config: PipelineConfig, folders: Iterable[Path], checkpoint: Checkpoint | None) -> Iterator[Path]:
    """Yield candidate word vector files, best first; `published` data are downloaded only when reached."""
    for folder in folders:
        yield folder / OWN_WORD_VECTORS
    if checkpoint is not None and (used := checkpoint.origin.config.get("word_file")):
        yield Path(str(used))
    given = [getattr(config.datasets, name).folder for name in type(config.datasets).model_fields]
    for folder in sorted((each for each in given if each), key=is_published):
        yield data_folder(folder, config.weights.folder) / GOOGLE_NEWS


def open_words(path: Path, config: PipelineConfig) -> WordVectors:
    """Open word vectors through the cache. Raises WordVectorsError."""
    from reeldex.embedding.words.word2vec import open_word_vectors

    return open_word_vectors(path, cache_folder=config.words.cache_folder, file_format=config.words.format)
