"""The training loop: steps, epochs, checkpoints, and resuming after a kill."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from reeldex.devices import resolve_device
from reeldex.embedding.datasets.records import TrainingSet
from reeldex.embedding.errors import TrainingError
from reeldex.embedding.model import ModelSpec, TextVideoEmbedding
from reeldex.embedding.options import TrainingOptions
from reeldex.embedding.training import random_states
from reeldex.embedding.training.batch_loss import BatchLoss
from reeldex.embedding.training.batches import BatchOptions, TrainingBatches
from reeldex.embedding.training.checkpoint import (
    Checkpoint,
    Origin,
    TrainingState,
    load_checkpoint,
    require_training,
    save_checkpoint,
)
from reeldex.embedding.training.checkpoint_selection import selection_score
from reeldex.embedding.training.checks import description, require_fit, require_same
from reeldex.embedding.training.distributed import ProcessRank, process_group
from reeldex.embedding.training.scalars import ScalarLog
from reeldex.embedding.training.startable import BEST, LAST, require_computable
from reeldex.embedding.training.update import Update
from reeldex.embedding.words.vectors import WordVectors
from reeldex.storage.schema import JSON

log = logging.getLogger(__name__)

Evaluate = Callable[[TextVideoEmbedding], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class StepReport:
    """The result of one step, for progress reports: epochs count from 0, steps from 1."""

    epoch: int
    step_in_epoch: int
    steps_per_epoch: int
    step: int
    loss: float
    learning_rate: float


@dataclass(frozen=True)
class TrainingJob:
    """One training: the model, its data, and the output folder.

    - `model`: the initial model, new (`new_model`) or from a checkpoint; trained in place.
    - `folder`: gets `last.pth`, `best.pth` and `tensorboard/`.
    - `evaluate`: returns the figures of a model by name; called only by the first process.
    - `on_step`: called after each step. `config`: further settings, recorded in the checkpoints.
    - `resume`: resume from `last.pth` if it exists.
    """

    model: TextVideoEmbedding
    samples: TrainingSet
    words: WordVectors
    options: TrainingOptions
    folder: Path
    evaluate: Evaluate | None = None
    on_step: Callable[[StepReport], None] = lambda _: None
    config: Mapping[str, JSON] = field(default_factory=dict)
    resume: bool = False


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The result of a training: its total epochs and steps, its checkpoints.

    `mean_loss` is its last epoch's, NaN if none was left to do.
    """

    epochs: int
    steps: int
    mean_loss: float
    best: float | None
    last_checkpoint: Path
    best_checkpoint: Path


def new_model(spec: ModelSpec, seed: int) -> TextVideoEmbedding:
    """Return an untrained model whose weights depend on sizes and seed alone."""
    random_states.seed_all(seed)
    return TextVideoEmbedding(spec)


def run_training(job: TrainingJob, process: ProcessRank | None = None) -> TrainingResult:
    """Train to the end; a killed and resumed training ends with the same weights (bit for bit on a CPU).

    Several processes (`ProcessRank.from_environment`) share each batch and compute one loss over all of it.
    The model is in training mode only during steps. Raises DeviceError and TrainingError if it cannot begin,
    LossNotFiniteError for a NaN, CheckpointMismatchError for resuming with other settings.
    """
    where = process or ProcessRank.from_environment()
    # With several processes each has a device of its own, and there may be fewer.
    device = resolve_device(str(where.device(str(resolve_device(job.options.device)))))
    require_computable(job.options, str(device))
    with process_group(where, device):
        job.model.to(device)
        try:
            return _Trainer(job, where, device).run()
        finally:
            job.model.eval()


class _Trainer:
    def __init__(self, job: TrainingJob, process: ProcessRank, device: torch.device) -> None:
        options = job.options
        self.job, self.process, self.device, self.options = job, process, device, options
        require_fit(job.model.spec, job.samples, job.words)
        cuda = device.type == "cuda"
        batching = BatchOptions(options.batch_size, options.seed, job.model.spec.max_words, options.workers, cuda)
        self.batches = TrainingBatches(job.samples, job.words, batching, process)
        self.loss = BatchLoss(options, job.samples.pairs_per_sample)
        self.optimizer = torch.optim.Adam(job.model.parameters(), lr=options.learning_rate)
        self.scaler = torch.amp.GradScaler(device.type, enabled=options.mixed_precision)
        told: dict[str, JSON] = {
            "options": options.model_dump(mode="json"),
            "samples": description(job.samples, options.seed),
        }
        self.origin = Origin(job.words.fingerprint, job.samples.fingerprints(), {**job.config, **told})
        self.epoch, self.step_in_epoch, self.step, self.loss_sum = 0, 0, 0, 0.0
        self.best: float | None = None
        self.best_by = ""
        self._begin()
        # Made from the weights of a resumed training: each process then begins with those of the first.
        self.update = Update(job.model, self.loss, self.optimizer, self.scaler, process, options)

    def run(self) -> TrainingResult:
        mean_loss = math.nan
        if self.options.best_by and self.process.is_first and not self._evaluates:
            raise TrainingError(
                f"The best checkpoint cannot be chosen by {self.options.best_by!r}: nothing is evaluated. Name "
                "test sets to evaluate on, or omit best_by."
            )
        with ScalarLog(self.job.folder / "tensorboard", enabled=self.process.is_first, purge_step=self.step) as scalars:
            if self.step == 0 and self.process.is_first:
                self._look_before(scalars)
            while self.epoch < self.options.epochs:
                self._steps(scalars)
                mean_loss = self.loss_sum / self.batches.steps_per_epoch
                self._end_epoch(mean_loss, scalars)
        last, best = self.job.folder / LAST, self.job.folder / BEST
        return TrainingResult(self.epoch, self.step, mean_loss, self.best, last, best)

    def _look_before(self, scalars: ScalarLog) -> None:
        """Evaluate the model before its first step: a baseline, and errors of the evaluation show at once."""
        if self._evaluates:
            figures = self._evaluate()
            scalars.add(0, figures)
            selection_score(figures, 0.0, self.options.best_by)

    def _steps(self, scalars: ScalarLog) -> None:
        self.job.model.train()
        for batch in self.batches.epoch(self.epoch, self.step_in_epoch):
            place = f"step {self.step_in_epoch + 1} of epoch {self.epoch + 1}"
            loss = self.update(batch.to(self.device), place)
            self.step_in_epoch += 1
            self.step += 1
            self.loss_sum += loss
            rate = self.learning_rate
            if self.step % self.options.log_every == 0:
                scalars.add(self.step, {"train/loss": loss, "train/learning_rate": rate})
            every = self.options.checkpoint_every_steps
            if every and self.step % every == 0:
                self._save(LAST)
            steps = self.batches.steps_per_epoch
            self.job.on_step(StepReport(self.epoch, self.step_in_epoch, steps, self.step, loss, rate))

    @property
    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _end_epoch(self, mean_loss: float, scalars: ScalarLog) -> None:
        self.job.model.eval()
        for group in self.optimizer.param_groups:
            group["lr"] *= self.options.lr_decay
        self.epoch, self.step_in_epoch, self.loss_sum = self.epoch + 1, 0, 0.0
        log.info("Epoch %d of %d: mean loss %.4f", self.epoch, self.options.epochs, mean_loss)
        if not self.process.is_first:
            return
        figures = self._evaluate() if self._evaluates and self._is_due else {}
        scalars.add(self.step, {"train/epoch_loss": mean_loss, **figures})
        score = selection_score(figures, mean_loss, self.options.best_by) if figures or not self._evaluates else None
        # Figures of a training that was resumed with other test sets are not comparable with these.
        if score is not None and (self.best is None or score.by != self.best_by or score.value > self.best):
            self.best, self.best_by = score.value, score.by
            # Before last.pth, which records the best figure: in the other order a kill could lose the best checkpoint.
            self._save(BEST)
        self._save(LAST)

    @property
    def _evaluates(self) -> bool:
        return self.job.evaluate is not None and self.options.evaluate_every > 0

    @property
    def _is_due(self) -> bool:
        return self.epoch == self.options.epochs or self.epoch % self.options.evaluate_every == 0

    def _evaluate(self) -> dict[str, float]:
        self.job.model.eval()
        with torch.no_grad():
            return dict(self.job.evaluate(self.job.model)) if self.job.evaluate else {}

    def _save(self, name: str) -> None:
        if not self.process.is_first:
            return
        state = TrainingState(
            epoch=self.epoch,
            step_in_epoch=self.step_in_epoch,
            step=self.step,
            loss_sum=self.loss_sum,
            best=self.best,
            best_by=self.best_by,
            optimizer=self.optimizer.state_dict(),
            scaler=self.scaler.state_dict(),
            random_states=random_states.capture(),
        )
        weights = self.job.model.state_dict()
        save_checkpoint(self.job.folder / name, Checkpoint(self.job.model.spec, weights, self.origin, state))

    def _begin(self) -> None:
        path = self.job.folder / LAST
        if not path.exists():
            if self.job.resume:
                log.warning("There is no %s to resume from: starting a new training", path)
            random_states.seed_all(self.options.seed)
            return
        if not self.job.resume:
            raise TrainingError(
                f"{self.job.folder} holds a training already. Resume it, or choose another folder for a new one."
            )
        checkpoint = load_checkpoint(path)
        state = require_training(checkpoint, path)
        require_same(checkpoint, Checkpoint(self.job.model.spec, {}, self.origin), self.job.words.dim, self.options)
        self.job.model.load_weights(checkpoint.weights)
        self.optimizer.load_state_dict(dict(state.optimizer))
        self.scaler.load_state_dict(dict(state.scaler))
        self.epoch, self.step_in_epoch, self.step = state.epoch, state.step_in_epoch, state.step
        self.loss_sum, self.best, self.best_by = state.loss_sum, state.best, state.best_by
        random_states.restore(state.random_states)
        log.info("Resuming after step %d, in epoch %d", self.step, self.epoch + 1)
