"""A training as requested, and the checks before it opens any large file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reeldex.errors import UsageError
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.learning.inputs import (
    dataset_options,
    require_test_sets,
    require_training_samples,
    require_words,
    training_options,
    word_file,
)
from reeldex.flows.learning.published_files import checkpoint_path


@dataclass(frozen=True)
class TrainingRequest:
    """A training: the data set, the output folder, and the checkpoint to start from, if any.

    `config` has its preset applied.
    """

    dataset: str
    folder: Path
    config: PipelineConfig
    checkpoint: str | None = None
    resume: bool = False

    def start(self) -> Path | None:
        """Return the file of the checkpoint that a new training starts from, downloaded if it is the published one."""
        return checkpoint_path(self.checkpoint, self.config.weights.folder) if self.checkpoint else None


def require_startable(request: TrainingRequest) -> None:
    """Check a request quickly, before any large file is opened. Raises as `training.train_embedding` does."""
    from reeldex.embedding.errors import CheckpointError, TrainingError
    from reeldex.embedding.training.startable import LAST, require_computable

    options = training_options(request.dataset, request.config)
    require_computable(options, options.device)
    for dataset in (request.dataset, *request.config.train.evaluate_on):
        dataset_options(dataset, request.config)
    if request.folder.exists() and not request.folder.is_dir():
        raise UsageError(f"{request.folder} is a file. Name a folder for the training.")
    if (request.folder / LAST).exists() and not request.resume:
        raise TrainingError(
            f"{request.folder} already contains a training. Continue it (--resume), or choose another folder."
        )
    train = request.config.train
    if train.validation_share and not train.evaluate_every:
        raise UsageError(
            "train.validation_share: the best checkpoint cannot be selected without an evaluation. Raise "
            "train.evaluate_every, or leave validation_share out."
        )
    if train.best_by and not ((train.evaluate_on or train.validation_share) and train.evaluate_every):
        raise UsageError(
            f"train.best_by: the best checkpoint cannot be chosen by {train.best_by} without an evaluation. Name test "
            "sets (train.evaluate_on, --evaluate-on), hold videos out (train.validation_share), or leave it out."
        )
    if request.config.words.train_own and request.config.words.file is not None:
        raise UsageError("words.file and words.train_own exclude each other: give one of them.")
    start = request.start()
    if start is not None and not start.is_file():
        raise CheckpointError(f"There is no checkpoint at {start}. Correct the path, or download or train one.")
    if not request.config.words.train_own:
        _require_words(request, start)
    require_training_samples(request.dataset, request.config)
    require_test_sets(request.config.train.evaluate_on, request.config)


def _require_words(request: TrainingRequest, start: Path | None) -> None:
    """Raise UsageError without word vectors: configured, of the training, or of the checkpoint that it begins with."""
    from reeldex.embedding.training.startable import LAST

    last = request.folder / LAST
    begun = last if request.resume and last.exists() else start
    if begun is None:
        word_file(request.config, [request.folder])
    else:
        require_words(request.config, begun, [request.folder, *([start.parent] if start else [])])
