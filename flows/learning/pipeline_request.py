"""What a pipeline is asked to do and what it comes to. Nothing of Prefect's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reeldex.errors import UsageError
from reeldex.flows.config.learning import TestSet, TrainingDataset
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.extraction.preflight import check_extract
from reeldex.flows.learning.indexing import IndexingRequest, require_indexable, require_settings
from reeldex.flows.learning.inputs import dataset_options, with_preset
from reeldex.flows.learning.training import TrainingRequest, require_startable

if TYPE_CHECKING:
    from reeldex.flows.extraction.run_report import RunReport
    from reeldex.flows.learning.cached_evaluation import CachedEvaluation
    from reeldex.flows.learning.training import TrainingReport
    from reeldex.search.report import BuildReport

FEATURES, EMBEDDING, INDEX = "features", "embedding", "index"
"""What the folder of a pipeline holds."""


@dataclass(frozen=True)
class PipelineRequest:
    """From which videos, into which folder, by which embedding. Raises UsageError when no embedding is named."""

    source: str
    folder: Path
    config: PipelineConfig
    checkpoint: str = ""
    train_on: TrainingDataset | None = None
    evaluate_on: tuple[TestSet, ...] = ()

    def __post_init__(self) -> None:
        if not self.checkpoint and self.train_on is None:
            raise UsageError(
                "Which embedding is to be used is not said: give a checkpoint (`published` is the HowTo100M one), or "
                "the data set to train one on."
            )

    @property
    def store(self) -> str:
        """The folder of the features."""
        return str(self.folder / FEATURES)

    def checked(self) -> None:
        """Raise what is quickly seen to be wrong with any of the steps, before the first begins."""
        require_settings(self.config)
        check_extract(self.source, self.store, self.config)
        for each in self.evaluate_on:
            dataset_options(each, self.config.with_store(each, self.store))
        if self.train_on is not None:
            config = with_preset(self.config, [self.train_on]).with_store(self.train_on, self.store)
            folder = self.folder / EMBEDDING
            require_startable(TrainingRequest(self.train_on, folder, config, self.checkpoint or None, resume=True))
        else:
            require_indexable(IndexingRequest(self.store, self.checkpoint, self.config))


@dataclass(frozen=True)
class PipelineReport:
    """What the steps of a pipeline came to; None for those that were not asked for."""

    extraction: RunReport
    training: TrainingReport | None
    evaluation: CachedEvaluation | None
    index: BuildReport

    @property
    def well(self) -> bool:
        """Whether every video has its features, and they could be indexed."""
        return self.extraction.well and not self.index.failed

    def to_json(self) -> dict[str, Any]:
        """Return the steps' figures as JSON values."""
        evaluation = self.evaluation
        return {
            "extraction": self.extraction.to_json(),
            "training": None if self.training is None else self.training.to_json(),
            "evaluation": evaluation and {**evaluation.figures, "up_to_date": evaluation.up_to_date},
            "index": self.index.to_json(),
        }

    def __str__(self) -> str:
        lines = [f"features    {self.extraction}"]
        if self.training is not None:
            lines.append(f"embedding   {self.training}")
        if self.evaluation is not None:
            before = "not repeated, since nothing has changed: " if self.evaluation.up_to_date else ""
            lines.append(f"evaluation  {before}{self.evaluation.sentence}")
        return "\n".join([*lines, f"index       {self.index}"])
