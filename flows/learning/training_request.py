"""What a training is asked to do, checked before any large file is opened, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from reeldex.devices import resolve_device
from reeldex.errors import UsageError
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.learning.evaluation import EvaluationReport
from reeldex.flows.learning.inputs import dataset_options, training_options, word_file
from reeldex.flows.learning.published_files import checkpoint_path
from reeldex.quantities import counted
from reeldex.storage.json_codec import OwnJson, to_json


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


@dataclass(frozen=True)
class TrainingReport:
    """Result of a training; `evaluation` is that of its best checkpoint, None without test sets.

    `mean_loss` is that of the last epoch, None when no epoch was left.
    """

    dataset: str
    folder: str
    epochs: int
    steps: int
    samples: int
    unusable_videos: int
    mean_loss: float | None
    best: float | None
    best_checkpoint: str
    last_checkpoint: str
    evaluation: Annotated[EvaluationReport | None, OwnJson]
    unusable_rows: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        found: dict[str, Any] = to_json(self)
        return found

    def __str__(self) -> str:
        done = "already complete" if self.mean_loss is None else f"mean loss {self.mean_loss:.4f} in the last epoch"
        without = f", {counted(self.unusable_videos, 'video')} excluded" if self.unusable_videos else ""
        if self.unusable_rows:
            without += f", {counted(self.unusable_rows, 'annotation row')} left out"
        return (
            f"{counted(self.epochs, 'epoch')} ({counted(self.steps, 'step')}) on {counted(self.samples, 'sample')} of "
            f"{self.dataset}{without}: {done}. The best checkpoint is {self.best_checkpoint}"
        )


def require_startable(request: TrainingRequest) -> None:
    """Check a request quickly, before any large file is opened. Raises as `train_embedding` does."""
    from reeldex.embedding.errors import CheckpointError, TrainingError
    from reeldex.embedding.training.train import LAST, require_computable

    options = training_options(request.dataset, request.config)
    require_computable(options, resolve_device(options.device))
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
    start = start_file(request)
    if start is not None and not start.is_file():
        raise CheckpointError(f"There is no checkpoint at {start}. Correct the path, or download or train one.")
    if not request.config.words.train_own and start is None:
        word_file(request.config, [request.folder])


def start_file(request: TrainingRequest) -> Path | None:
    """Return the file of the checkpoint that a new training starts from, downloaded if it is the published one."""
    return checkpoint_path(request.checkpoint, request.config.weights.folder) if request.checkpoint else None
