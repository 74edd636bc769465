"""One training of the embedding, from the configuration to checkpoints and a table."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from reeldex.devices import resolve_device
from reeldex.flows.execution.errors import infrastructure_errors
from reeldex.flows.learning.evaluation import EvaluationReport, evaluate_model, report_words, require_fit
from reeldex.flows.learning.inputs import (
    OWN_WORD_VECTORS,
    open_test_sets,
    open_training_set,
    open_words,
    require_words_of,
    training_options,
    word_file,
)
from reeldex.flows.learning.training_progress import OnStep
from reeldex.flows.learning.training_request import TrainingRequest, require_startable
from reeldex.quantities import counted
from reeldex.storage.json_codec import OwnJson, to_json

if TYPE_CHECKING:
    from reeldex.embedding.datasets.localization import EvaluatedSet
    from reeldex.embedding.datasets.records import TrainingSet
    from reeldex.embedding.model import TextVideoEmbedding
    from reeldex.embedding.training.checkpoint import Checkpoint
    from reeldex.embedding.training.distributed import ProcessRank
    from reeldex.embedding.training.train import Evaluate, TrainingResult
    from reeldex.embedding.words.vectors import WordVectors

log = logging.getLogger(__name__)

_COVERAGE_SAMPLES = 10_000
_AFTER_A_FAULT = "If memory ran out, lower train.batch_size or n_pair. Then continue this training: Retry, or --resume."


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


@infrastructure_errors("the training", _AFTER_A_FAULT)
def train_embedding(request: TrainingRequest, on_step: OnStep) -> TrainingReport:
    """Train as requested; under torchrun, as one of several processes.

    Raises UsageError, EmbeddingError, WeightsError; InfrastructureError when memory runs out or a device is lost.
    """
    from reeldex.embedding.training.distributed import ProcessRank, process_group

    require_startable(request)
    process = ProcessRank.from_environment()
    options = training_options(request.dataset, request.config)
    samples = open_training_set(request.dataset, request.config)
    alone = _alone_in(request.folder) if process.is_first else nullcontext()
    connected = process_group(process, process.device(options.device))
    with alone, connected:
        return _TrainingRun(request, samples, process).run(on_step)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Lock a training's folder, created if absent; remove temporary files that killed trainings left."""
    from reeldex.storage.atomic import make_folder, remove_leftovers
    from reeldex.storage.lock import hold_lock

    make_folder(folder)
    with hold_lock(folder, 0, "training folder"):
        remove_leftovers(folder)
        yield


class _TrainingRun:
    def __init__(self, request: TrainingRequest, samples: TrainingSet, process: ProcessRank) -> None:
        from reeldex.embedding.datasets.subsets import split_validation

        self.request, self.config, self.process = request, request.config, process
        self.samples, self.validation = samples, None
        if self.config.train.validation_share:
            self.samples, self.validation = split_validation(samples, self.config.train.validation_share)

    def run(self, on_step: OnStep) -> TrainingReport:
        from reeldex.embedding.training.train import TrainingJob, run_training

        begun = self._begun()
        path, words = self._words(begun)
        model = self._model(begun, path, words)
        self._report_coverage(words)
        test_sets = self._test_sets(model, words)
        held_out = [self.validation] if self.validation is not None and self.process.is_first else []
        watched = [*held_out, *test_sets]
        job = TrainingJob(
            model=model,
            samples=self.samples,
            words=words,
            options=training_options(self.request.dataset, self.config),
            folder=self.request.folder,
            evaluate=self._evaluation(watched, words) if watched else None,
            on_step=on_step,
            config={"word_file": str(path.absolute()), "settings": self.config.model_dump(mode="json")},
            resume=self.request.resume,
        )
        return self._report(run_training(job, self.process), test_sets, words)

    def _begun(self) -> Checkpoint | None:
        """Return the checkpoint to resume or start from."""
        from reeldex.embedding.training.checkpoint import load_checkpoint
        from reeldex.embedding.training.startable import LAST

        last = self.request.folder / LAST
        start = last if self.request.resume and last.exists() else self.request.start()
        return None if start is None else load_checkpoint(start, max_words=self.config.train.model.max_words)

    def _words(self, begun: Checkpoint | None) -> tuple[Path, WordVectors]:
        own = self.request.folder / OWN_WORD_VECTORS
        if self.process.is_first:
            path = self._own_words(own) if self.config.words.train_own else self._word_file(begun)
            opened = path, open_words(path, self.config)
            self._wait()
            return opened
        self._wait()  # the first process converts the file for all
        path = own if self.config.words.train_own else self._word_file(begun)
        return path, open_words(path, self.config)

    def _word_file(self, begun: Checkpoint | None) -> Path:
        start = self.request.start()
        return word_file(self.config, [self.request.folder, *([start.parent] if start else [])], begun)

    def _own_words(self, path: Path) -> Path:
        from reeldex.embedding.datasets.caption_stream import CaptionStream
        from reeldex.embedding.options import WordTraining
        from reeldex.embedding.words.word2vec import train_word_vectors

        if not (self.request.resume and path.is_file()):
            log.info("Training word vectors on the captions of %s", self.samples.name)
            train_word_vectors(
                CaptionStream(self.samples), path, WordTraining(**self.config.words.training.model_dump())
            )
        return path

    def _wait(self) -> None:
        if self.process.world_size > 1:
            from torch import distributed

            distributed.barrier()

    def _model(self, begun: Checkpoint | None, path: Path, words: WordVectors) -> TextVideoEmbedding:
        from reeldex.embedding.model import ModelSpec
        from reeldex.embedding.training.checkpoint import require_features
        from reeldex.embedding.training.train import new_model

        if begun is not None:
            require_words_of(begun, path, words, self.config)
            require_features(begun, self.samples.fingerprints(), self.samples.video_dim)
            return begun.model()
        sizes = self.config.train.model
        spec = ModelSpec(self.samples.video_dim, sizes.embed_dim, words.dim, sizes.sentence_dim, sizes.max_words)
        return new_model(spec, self.config.train.seed)

    def _report_coverage(self, words: WordVectors) -> None:
        """Log which words of the training captions have no vector; raises WordVectorsError when most have none."""
        if not self.process.is_first:
            return
        from reeldex.embedding.datasets.caption_stream import CaptionStream
        from reeldex.embedding.words.coverage import measure_coverage, report_coverage

        # HowTo100M has over 100 million captions; a part of its videos shows the same shares.
        captions = CaptionStream(self.samples, _COVERAGE_SAMPLES)
        report_coverage(f"captions of {self.samples.name}", measure_coverage(captions, words))

    def _test_sets(self, model: TextVideoEmbedding, words: WordVectors) -> list[EvaluatedSet]:
        """Open the test sets in the process that evaluates; their features must match the model."""
        from reeldex.embedding.training.checkpoint import Checkpoint, Origin

        if not (self.process.is_first and self.config.train.evaluate_every):
            return []
        test_sets = open_test_sets(self.config.train.evaluate_on, self.config)
        ours = Checkpoint(model.spec, {}, Origin(words.fingerprint, self.samples.fingerprints()))
        for test_set in test_sets:
            require_fit(ours, test_set)
        report_words(test_sets, words)
        return test_sets

    def _evaluation(self, test_sets: list[EvaluatedSet], words: WordVectors) -> Evaluate:
        from reeldex.embedding.datasets.localization import LocalizationSet
        from reeldex.embedding.evaluation.evaluate import DIRECTIONS, evaluation_during_training
        from reeldex.embedding.evaluation.metrics import RECALL_AT

        run = evaluation_during_training(test_sets, words, self.config.evaluate.batch_size)

        def run_and_log(model: TextVideoEmbedding) -> Mapping[str, float]:
            figures = run(model)
            for test_set in test_sets:
                if isinstance(test_set, LocalizationSet):
                    recall = 100 * figures[f"{test_set.name}/localization/average_recall"]
                    log.info("%s: average recall %.1f", test_set.name, recall)
                    continue
                for direction in DIRECTIONS:
                    at = f"{test_set.name}/{direction}"
                    recalls = ", ".join(f"R@{k} {100 * figures[f'{at}/recall_at_{k}']:.1f}" for k in RECALL_AT)
                    said = direction.replace("_", " ")
                    log.info("%s, %s: %s, median rank %g", test_set.name, said, recalls, figures[f"{at}/median_rank"])
            return figures

        return run_and_log

    def _report(self, result: TrainingResult, test_sets: list[EvaluatedSet], words: WordVectors) -> TrainingReport:
        from reeldex.embedding.training.checkpoint import load_checkpoint

        evaluation = None
        if test_sets:
            best = load_checkpoint(result.best_checkpoint)
            model = best.model().to(resolve_device(self.config.train.device))
            evaluation = evaluate_model(model, test_sets, words, self.config, result.best_checkpoint)
        return TrainingReport(
            dataset=self.request.dataset,
            folder=str(self.request.folder),
            epochs=result.epochs,
            steps=result.steps,
            samples=len(self.samples),
            unusable_videos=len(self.samples.unusable.reasons),
            mean_loss=None if math.isnan(result.mean_loss) else result.mean_loss,
            best=result.best,
            best_checkpoint=str(result.best_checkpoint),
            last_checkpoint=str(result.last_checkpoint),
            evaluation=evaluation,
            unusable_rows=len(self.samples.unusable.rows),
        )
