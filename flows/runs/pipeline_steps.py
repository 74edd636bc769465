"""The steps of the flow `pipeline`, each a flow of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import tags
from prefect.states import Completed

from reeldex.cli import terminal
from reeldex.flows.config.pipeline import WhenBusy
from reeldex.flows.evaluate import evaluate
from reeldex.flows.extract import extract
from reeldex.flows.index import index
from reeldex.flows.learning.cached_evaluation import CachedEvaluation, cached_evaluation
from reeldex.flows.learning.evaluation import EvaluationRequest
from reeldex.flows.learning.pipeline_request import EMBEDDING, INDEX, PipelineReport, PipelineRequest
from reeldex.flows.learning.published_files import checkpoint_path
from reeldex.flows.progress.training import shown_on_terminal
from reeldex.flows.runs.names import TAG
from reeldex.flows.runs.states import RunSkippedError
from reeldex.flows.train import train

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from reeldex.flows.learning.training import TrainingReport

_EVALUATION_NOTE = "evaluation.json"


def run_steps(request: PipelineRequest, when_busy: WhenBusy, wait_seconds: float) -> State[Any]:
    """Extract, train, evaluate and index; return the state that this ends in."""
    # By the tag the steps' runs are known as ours, should their process die.
    with tags(TAG):
        report = _steps(request, when_busy, wait_seconds)
    name = None if report.well else "Completed with failures"
    return Completed(name=name, message=f"{report}", data=report)


def _steps(request: PipelineRequest, when_busy: WhenBusy, wait_seconds: float) -> PipelineReport:
    config = request.config
    request.checked()
    with terminal.watching():
        extraction: Any = extract(
            request.source, request.store, config.extract, config.compute, config.weights, when_busy, wait_seconds
        )
    if isinstance(extraction, RunSkippedError):
        raise extraction
    training = _train(request)
    checkpoint = training.best_checkpoint if training is not None else request.checkpoint
    evaluation = _evaluate(request, checkpoint)
    options = config.index.model_copy(update={"folder": request.folder / INDEX})
    # The folder is the pipeline's own: with another checkpoint its index is another.
    built: Any = index(
        request.store,
        checkpoint,
        rebuild=True,
        options=options,
        datasets=config.datasets,
        words=config.words,
        weights=config.weights,
    )
    return PipelineReport(extraction, training, evaluation, built)


def _train(request: PipelineRequest) -> TrainingReport | None:
    from reeldex.embedding.training.train import LAST

    if request.train_on is None:
        return None
    config, folder = request.config, request.folder / EMBEDDING
    with shown_on_terminal(config.train.epochs):
        report: Any = train(
            request.train_on,
            str(folder),
            store=request.store,
            checkpoint=request.checkpoint,
            resume=(folder / LAST).exists(),
            options=config.train,
            datasets=config.datasets,
            words=config.words,
            evaluation=config.evaluate,
            weights=config.weights,
        )
    trained: TrainingReport = report
    return trained


def _evaluate(request: PipelineRequest, checkpoint: str) -> CachedEvaluation | None:
    config = request.config
    if not request.evaluate_on:
        return None

    def run() -> Any:  # noqa: ANN401 - Prefect does not know what a flow's state holds
        return evaluate(
            checkpoint,
            list(request.evaluate_on),
            store=request.store,
            evaluation=config.evaluate,
            datasets=config.datasets,
            words=config.words,
            weights=config.weights,
        )

    for each in request.evaluate_on:
        config = config.with_store(each, request.store)
    path = str(checkpoint_path(checkpoint, config.weights.folder))
    names = tuple(each.value for each in request.evaluate_on)
    return cached_evaluation(request.folder / _EVALUATION_NOTE, EvaluationRequest(path, names, config), run)
