"""The flow `evaluate`: how well sentences find videos with a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from reeldex.flows.config.datasets import DatasetsConfig
from reeldex.flows.config.learning import EvaluateConfig, TestSet, WordsConfig
from reeldex.flows.config.pipeline import NonEmpty, PipelineConfig, WeightsConfig
from reeldex.flows.learning.evaluation import EvaluationReport, EvaluationRequest, evaluate_checkpoint
from reeldex.flows.runs.as_flow_run import report_of
from reeldex.flows.runs.evaluation_artifacts import publish_evaluation
from reeldex.flows.runs.names import evaluate_run_name
from reeldex.flows.runs.states import run_to_state

DESCRIPTION = """\
Measure **how well sentences find videos** with a checkpoint, over whole test sets.

1. *checkpoint*: a path, or `published` for the HowTo100M one (downloaded if missing).
2. *test_sets*: which data sets; *datasets* names their files. *store*: the feature store of their videos.
3. Press **Submit**. *Artifacts* shows R@1, R@5, R@10 and the median rank in both directions, with 95 % intervals, and
   which protocol each test set follows. The paper's figures are shown only for a test set whose SHA-256 is that of the
   published one (*published_sha256* in *datasets*). A JSON report is written beside the checkpoint.
"""


@flow(name="evaluate", description=DESCRIPTION, flow_run_name=evaluate_run_name)
def evaluate(  # noqa: PLR0913, PLR0917 - each is a field of the form in the UI
    checkpoint: NonEmpty,
    test_sets: Annotated[list[TestSet], Field(min_length=1)],
    store: str = "",
    ranking: str = "",
    evaluation: EvaluateConfig = EvaluateConfig(),  # noqa: B008 - frozen
    datasets: DatasetsConfig = DatasetsConfig(),  # noqa: B008
    words: WordsConfig = WordsConfig(),  # noqa: B008
    weights: WeightsConfig = WeightsConfig(),  # noqa: B008
) -> State[Any]:
    """Evaluate a checkpoint of the text-video embedding.

    Args:
        checkpoint: The checkpoint, or published.
        test_sets: The data sets to evaluate on.
        store: The feature store of their videos; empty uses the setting in datasets.
        ranking: A CSV file for the best clips of each sentence; empty writes none.
        evaluation: How to evaluate.
        datasets: Where the data sets are stored.
        words: The word vectors.
        weights: Where downloads are stored.
    """
    config = PipelineConfig(datasets=datasets, words=words, evaluate=evaluation, weights=weights)
    for each in test_sets:
        config = config.with_store(each, store)
    names = tuple(each.value for each in test_sets)
    return run_to_state(
        lambda: _evaluate(EvaluationRequest(checkpoint, names, config, Path(ranking) if ranking else None))
    )


def _evaluate(request: EvaluationRequest) -> State[Any]:
    report = evaluate_checkpoint(request)
    publish_evaluation(report)
    return Completed(message=report.sentence(), data=report)


def evaluate_as_flow_run(request: EvaluationRequest) -> EvaluationReport:
    """Create a flow run for a request, and return its report or raise its error."""
    config = request.config
    return report_of(
        EvaluationReport,
        evaluate,
        request.checkpoint,
        [TestSet(name) for name in request.datasets],
        ranking=str(request.ranking or ""),
        evaluation=config.evaluate,
        datasets=config.datasets,
        words=config.words,
        weights=config.weights,
    )
