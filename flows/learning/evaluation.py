"""One evaluation of a checkpoint, from the configuration to tables and files."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reeldex.devices import device_name, resolve_device
from reeldex.errors import UsageError
from reeldex.flows.config.learning import TestSet
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.execution.errors import infrastructure_errors
from reeldex.flows.learning.inputs import (
    dataset_options,
    open_test_sets,
    require_test_sets,
    require_words_of_given,
    words_of_checkpoint,
)
from reeldex.flows.learning.published_files import checkpoint_path
from reeldex.quantities import counted

if TYPE_CHECKING:
    from reeldex.embedding.datasets.localization import EvaluatedSet
    from reeldex.embedding.evaluation.evaluate import Result
    from reeldex.embedding.evaluation.tables import Table
    from reeldex.embedding.model import TextVideoEmbedding
    from reeldex.embedding.training.checkpoint import Checkpoint
    from reeldex.embedding.words.vectors import WordVectors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationRequest:
    """A checkpoint, the test sets to evaluate it on, and the file for rankings, if any."""

    checkpoint: str
    datasets: tuple[str, ...]
    config: PipelineConfig
    ranking: Path | None = None


@dataclass(frozen=True)
class EvaluationReport:
    """Results of an evaluation by test set, and the files that were written."""

    checkpoint: str
    results: tuple[Result, ...]
    report_file: str
    ranking_files: tuple[str, ...] = ()

    def tables(self) -> list[Table]:
        """Return the tables for people, the recall table first."""
        from reeldex.embedding.evaluation.evaluate import SetResult
        from reeldex.embedding.evaluation.localization_table import localization_table
        from reeldex.embedding.evaluation.tables import further_tables, retrieval_table

        retrieval = [result for result in self.results if isinstance(result, SetResult)]
        title = f"Retrieval with {self.checkpoint} (R@k in percent; 95 % intervals)"
        tables = [retrieval_table(retrieval, title), *further_tables(retrieval)] if retrieval else []
        title = f"Step localization with {self.checkpoint} (recall in percent)"
        return tables + [
            localization_table(result, title) for result in self.results if not isinstance(result, SetResult)
        ]

    def sentence(self) -> str:
        """Return the main metrics of both directions, for the state of a run."""
        from reeldex.embedding.evaluation.evaluate import SetResult
        from reeldex.embedding.evaluation.localization_table import recall_in_words
        from reeldex.embedding.evaluation.tables import figures_in_words

        said = [
            figures_in_words(each) if isinstance(each, SetResult) else recall_in_words(each) for each in self.results
        ]
        return " ".join(f"{each}." for each in said)

    def to_json(self) -> dict[str, Any]:
        """Return all metrics as JSON values."""
        from reeldex.embedding.evaluation.tables import report_json

        files = {"report_file": self.report_file, "ranking_files": list(self.ranking_files)}
        return {**report_json(self.results, {"checkpoint": self.checkpoint}), **files}

    def __str__(self) -> str:
        return "\n\n".join(str(table) for table in self.tables())


def require_evaluable(request: EvaluationRequest) -> None:
    """Check a request quickly, before any large file is opened. Raises as `evaluate_checkpoint` does."""
    from reeldex.embedding.errors import CheckpointError

    device_name(request.config.evaluate.device)
    for dataset in request.datasets:
        dataset_options(dataset, request.config)
    path = checkpoint_path(request.checkpoint, request.config.weights.folder)
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint at {path}. Correct the path, or download or train one.")
    _require_writable(path.parent, "The metrics are written as JSON beside the checkpoint, but")
    if request.ranking is not None:
        if TestSet.CROSSTASK in request.datasets:
            raise UsageError("A ranking lists clips that sentences find; crosstask has none. Leave --save-ranking out.")
        if request.ranking.is_dir():
            raise UsageError(f"{request.ranking} is a folder. Name a file for the ranking.")
        _require_writable(request.ranking.parent, "The ranking cannot be written:")
    require_words_of_given(request.checkpoint, path, request.config)
    require_test_sets(request.datasets, request.config)


def _require_writable(folder: Path, why: str) -> None:
    """Raise UsageError when a folder, or its nearest existing parent, is not writable."""
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), folder)
    if not there.is_dir():
        raise UsageError(f"{why} {there} is a file.")
    if not os.access(there, os.W_OK):
        raise UsageError(f"{why} {there} is not writable. Choose another folder.")


@infrastructure_errors("the evaluation", "If memory ran out, lower evaluate.batch_size.")
def evaluate_checkpoint(request: EvaluationRequest) -> EvaluationReport:
    """Evaluate as requested. Raises UsageError, EmbeddingError, WeightsError; InfrastructureError."""
    from reeldex.embedding.training.checkpoint import load_checkpoint

    require_evaluable(request)
    config = request.config
    path = checkpoint_path(request.checkpoint, config.weights.folder)
    checkpoint = load_checkpoint(path, max_words=config.evaluate.max_words)
    words = words_of_checkpoint(request.checkpoint, path, checkpoint, config)
    test_sets = open_test_sets(request.datasets, config)
    for test_set in test_sets:
        require_fit(checkpoint, test_set)
    report_words(test_sets, words)
    model = checkpoint.model().to(resolve_device(config.evaluate.device))
    return evaluate_model(model, test_sets, words, config, path, request.ranking)


def require_fit(checkpoint: Checkpoint, test_set: EvaluatedSet) -> None:
    """Raise CheckpointMismatchError for a test set with other features than the model was trained on."""
    from reeldex.embedding.training.checkpoint import require_features

    require_features(checkpoint, test_set.fingerprints(), test_set.video_dim)


def report_words(test_sets: Iterable[EvaluatedSet], words: WordVectors) -> None:
    """Log which words of test sets have no vector; raises WordVectorsError when most have none."""
    from reeldex.embedding.words.coverage import measure_coverage, report_coverage

    for test_set in test_sets:
        report_coverage(test_set.name, measure_coverage(test_set.captions, words))


def evaluate_model(  # noqa: PLR0913, PLR0917 - the model, its test sets and its outputs
    model: TextVideoEmbedding,
    test_sets: Sequence[EvaluatedSet],
    words: WordVectors,
    config: PipelineConfig,
    checkpoint: Path,
    ranking: Path | None = None,
) -> EvaluationReport:
    """Evaluate a model on whole test sets; write JSON beside its checkpoint, and rankings if requested."""
    from reeldex.embedding.datasets.localization import LocalizationSet
    from reeldex.embedding.evaluation.evaluate import measure, score
    from reeldex.embedding.evaluation.localization import localize
    from reeldex.embedding.evaluation.tables import save_ranking, save_report
    from reeldex.embedding.words.coverage import measure_coverage

    options = config.evaluate
    results: list[Result] = []
    rankings = []
    for test_set in test_sets:
        if isinstance(test_set, LocalizationSet):
            log.info("%s: %s", test_set.name, counted(len(test_set.videos), "video"))
            results.append(localize(model, test_set, words, options.batch_size))
            continue
        log.info(
            "%s: %s, %s",
            test_set.name,
            counted(len(test_set.captions), "sentence"),
            counted(len(test_set.clips), "clip"),
        )
        scores = score(model, test_set, words, options.batch_size)
        coverage = measure_coverage(test_set.captions, words)
        results.append(measure(scores, test_set, options, coverage))
        if ranking is not None:
            several = len(test_sets) > 1
            path = ranking.with_name(f"{ranking.stem}.{test_set.name}{ranking.suffix}") if several else ranking
            save_ranking(path, scores, test_set, config.evaluate.ranking_length)
            rankings.append(str(path))
    report_file = checkpoint.with_name(f"{checkpoint.stem}.{'+'.join(each.name for each in test_sets)}.json")
    about = {"checkpoint": str(checkpoint), "word_vectors": words.fingerprint}
    save_report(report_file, results, {**about, "settings": config.evaluate.model_dump(mode="json")})
    return EvaluationReport(str(checkpoint), tuple(results), str(report_file), tuple(rankings))
