"""The steps of `reeldex run`, from a folder of videos to an index of moments, independent of how each step is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from reeldex.devices import device_name
from reeldex.errors import UsageError
from reeldex.flows.config.learning import TestSet, TrainingDataset
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.extraction.prepare import prepare
from reeldex.flows.extraction.run_report import RunReport
from reeldex.flows.learning.cached_evaluation import CachedEvaluation, cached_evaluation
from reeldex.flows.learning.evaluation import EvaluationReport, EvaluationRequest
from reeldex.flows.learning.indexing import IndexingRequest, require_indexable, require_settings
from reeldex.flows.learning.inputs import require_test_sets, with_preset
from reeldex.flows.learning.pipeline_spaces import PipelineSpaces
from reeldex.flows.learning.published_files import checkpoint_path
from reeldex.flows.learning.training import TrainingReport
from reeldex.flows.learning.training_request import TrainingRequest, require_startable
from reeldex.search.report import BuildReport
from reeldex.storage.json_codec import OwnJson, to_json

if TYPE_CHECKING:
    from reeldex.flows.extraction.prepare import PreparedRun

FEATURES, EMBEDDING, INDEX = "features", "embedding", "index"
"""The subfolders of a pipeline's folder."""

_EVALUATION_NOTE = "evaluation.json"


@dataclass(frozen=True)
class PipelineRequest:
    """The videos, the folder for all results, and the embedding. Raises UsageError when no embedding is specified."""

    source: str
    folder: Path
    config: PipelineConfig
    checkpoint: str = ""
    train_on: TrainingDataset | None = None
    evaluate_on: tuple[TestSet, ...] = ()
    more_sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.checkpoint and self.train_on is None:
            raise UsageError(
                "No embedding specified. Give a checkpoint (`published` is the HowTo100M one), or a data set "
                "to train one on."
            )

    @property
    def sources(self) -> tuple[str, ...]:
        """All sources of videos."""
        return (self.source, *self.more_sources)

    @property
    def store(self) -> str:
        """The folder of the features."""
        return str(self.folder / FEATURES)

    def training(self) -> TrainingRequest | None:
        """Return the training request; None for a pipeline that uses an existing checkpoint."""
        if self.train_on is None:
            return None
        from reeldex.embedding.training.startable import LAST

        config = with_preset(self.config, [self.train_on]).with_store(self.train_on, self.store, self.spaces.found())
        folder = self.folder / EMBEDDING
        resume = (folder / LAST).exists()
        return TrainingRequest(self.train_on.value, folder, config, self.checkpoint or None, resume)

    def evaluation(self, checkpoint: str) -> EvaluationRequest | None:
        """Return the evaluation request for a checkpoint's path; None without test sets."""
        if not self.evaluate_on:
            return None
        config = self.config
        for each in self.evaluate_on:
            config = config.with_store(each, self.store, self.spaces.found())
        path = str(checkpoint_path(checkpoint, config.weights.folder))
        return EvaluationRequest(path, tuple(each.value for each in self.evaluate_on), config)

    def indexing(self, checkpoint: str) -> IndexingRequest:
        """Return the indexing request for a checkpoint."""
        space_2d, space_3d = self.spaces.found()
        update = {"folder": self.folder / INDEX, "space_2d": space_2d, "space_3d": space_3d}
        options = self.config.index.model_copy(update=update)
        config = self.config.model_copy(update={"index": options})
        # The folder belongs to the pipeline: an index of another checkpoint is replaced.
        return IndexingRequest(self.store, checkpoint, config, rebuild=True)

    @property
    def spaces(self) -> PipelineSpaces:
        """The feature spaces that the steps after the extraction use."""
        return PipelineSpaces(self.config, self.folder, self.folder / FEATURES, self.checkpoint)

    def prepare(self, extraction: PreparedRun | None = None) -> PreparedRun:
        """Check all steps quickly; return the prepared extraction, `extraction` if given. Raises as the steps do."""
        require_settings(self.config)
        prepared = extraction or prepare(self.sources, self.store, self.config)
        spaces = self.spaces.checked()
        device_name(self.config.evaluate.device)
        for each in self.evaluate_on:
            require_test_sets([each], self.config.with_store(each, self.store, spaces))
        training = self.training()
        if training is not None:
            require_startable(training)
        else:
            require_indexable(IndexingRequest(self.store, self.checkpoint, self.config))
        return prepared


@dataclass(frozen=True)
class PipelineSteps:
    """The function of each step: plain functions, or flows that create child flow runs."""

    extract: Callable[[PreparedRun], RunReport]
    train: Callable[[TrainingRequest], TrainingReport]
    evaluate: Callable[[EvaluationRequest], EvaluationReport]
    index: Callable[[IndexingRequest], BuildReport]


def run_pipeline(request: PipelineRequest, prepared: PreparedRun, steps: PipelineSteps) -> PipelineReport:
    """Extract, train or use an embedding, evaluate, index; skip steps that are up to date.

    `prepared` is the result of `request.prepare()`. Raises as the steps do.
    """
    extraction = steps.extract(prepared)
    training_request = request.training()
    training = None if training_request is None else steps.train(training_request)
    request.spaces.keep()
    checkpoint = request.checkpoint if training is None else training.best_checkpoint
    evaluation = None
    evaluation_request = request.evaluation(checkpoint)
    if evaluation_request is not None:
        note = request.folder / _EVALUATION_NOTE
        evaluation = cached_evaluation(note, evaluation_request, steps.evaluate)
    return PipelineReport(extraction, training, evaluation, steps.index(request.indexing(checkpoint)))


@dataclass(frozen=True)
class PipelineReport:
    """The reports of a pipeline's steps; None for steps that were not requested."""

    extraction: Annotated[RunReport, OwnJson]
    training: TrainingReport | None
    evaluation: CachedEvaluation | None
    index: BuildReport

    @property
    def succeeded(self) -> bool:
        """Whether every video has features and was indexed."""
        return self.extraction.succeeded and not self.index.failed

    def to_json(self) -> dict[str, Any]:
        """Return the steps' reports as JSON values."""
        evaluation = self.evaluation
        figures = evaluation and {**evaluation.figures, "up_to_date": evaluation.up_to_date}
        return {**to_json(self), "evaluation": figures}

    def by_step(self) -> dict[str, str]:
        """Return what each step found, by its name."""
        found = {"features": f"{self.extraction}"}
        if self.training is not None:
            found["embedding"] = f"{self.training}"
        if self.evaluation is not None:
            before = "unchanged, not repeated: " if self.evaluation.up_to_date else ""
            found["evaluation"] = f"{before}{self.evaluation.sentence}"
        return {**found, "index": f"{self.index}"}

    def sentence(self) -> str:
        """Return what each step found in a sentence, without its full stop."""
        return "; ".join(f"{step}: {found.partition(chr(10))[0]}" for step, found in self.by_step().items())

    def __str__(self) -> str:
        return "\n".join(f"{step:<11} {found}" for step, found in self.by_step().items())
