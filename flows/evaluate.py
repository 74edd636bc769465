"""The flow `evaluate`: how well sentences find videos with a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from reeldex.flows.config.forms import Form, key_field
from reeldex.flows.config.learning import TestSet
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.learning.evaluation import EvaluationReport, EvaluationRequest, evaluate_checkpoint
from reeldex.flows.runs.as_flow_run import report_of
from reeldex.flows.runs.evaluation_artifacts import publish_evaluation
from reeldex.flows.runs.form_fields import Checkpoint, DataFolder, StoreOfDataset
from reeldex.flows.runs.form_flow import form_flow
from reeldex.flows.runs.names import evaluate_run_name

DESCRIPTION = """\
Measure **how well sentences find videos** with a checkpoint, over whole test sets.

1. *Checkpoint*: a path, or `published` for the HowTo100M one (downloaded if missing).
2. *Test sets*: which data sets; *Data folder*: their files. *Store*: the feature store of their videos.
3. Press **Submit**. *Artifacts* shows R@1, R@5, R@10 and the median rank in both directions, with 95 % intervals, and
   which protocol each test set follows. The paper's figures are shown only for a test set whose SHA-256 is that of the
   published one (`datasets.NAME.published_sha256` in *Further settings*). A JSON report is written beside the
   checkpoint.
"""


FORM = Form(
    "evaluate",
    ("evaluate", "datasets", "words", "weights"),
    (
        key_field("words.file", "word_vectors"),
        key_field("evaluate.batch_size"),
        key_field("evaluate.device"),
    ),
    former={"evaluation": "evaluate", "datasets": "datasets", "words": "words", "weights": "weights"},
)


@form_flow(FORM, description=DESCRIPTION, run_name=evaluate_run_name, example='{"datasets.msrvtt.protocol": "1k-A"}')
def evaluate(  # noqa: PLR0913 - each is a field of the form in the UI
    *,
    checkpoint: Checkpoint,
    test_sets: Annotated[
        list[TestSet], Field(min_length=1, title="Test sets", description="The data sets to evaluate on.")
    ],
    store: StoreOfDataset = "",
    data_folder: DataFolder = "",
    ranking: Annotated[
        str,
        Field(title="Ranking", description="A CSV file for the best clips of each sentence. Empty: none."),
    ] = "",
    config: PipelineConfig,
) -> State[Any]:
    """Evaluate a checkpoint of the text-video embedding."""
    for each in test_sets:
        config = config.with_store(each, store).with_data_folder(each, data_folder)
    names = tuple(each.value for each in test_sets)
    return _evaluate(EvaluationRequest(checkpoint, names, config, Path(ranking) if ranking else None))


def _evaluate(request: EvaluationRequest) -> State[Any]:
    report = evaluate_checkpoint(request)
    publish_evaluation(report)
    return Completed(message=report.sentence(), data=report)


def evaluate_as_flow_run(request: EvaluationRequest) -> EvaluationReport:
    """Create a flow run for a request, and return its report or raise its error."""
    return report_of(
        EvaluationReport,
        evaluate,
        checkpoint=request.checkpoint,
        test_sets=[TestSet(name) for name in request.datasets],
        ranking=str(request.ranking or ""),
        **FORM.parameters(request.config),
    )
