"""The flow `pipeline`: from a folder of videos to a searchable index, in one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from reeldex.flows.config.forms import Form, key_field
from reeldex.flows.config.learning import TestSet, TrainingDataset
from reeldex.flows.config.pipeline import NonEmpty, PipelineConfig, WhenBusy
from reeldex.flows.evaluate import evaluate_as_flow_run
from reeldex.flows.extract import extract_as_flow_run
from reeldex.flows.index import index_as_flow_run
from reeldex.flows.learning.pipeline import INDEX, PipelineReport, PipelineRequest, PipelineSteps, run_pipeline
from reeldex.flows.runs.as_flow_run import handed_on, handing_on, report_of
from reeldex.flows.runs.form_fields import (
    NO_TRAINING,
    DataFolder,
    LongestWait,
    MoreSources,
    Source,
    TrainOn,
    WhenStoreBusy,
)
from reeldex.flows.runs.form_flow import form_flow
from reeldex.flows.runs.names import pipeline_run_name
from reeldex.flows.runs.pipeline_artifact import StepsFound, publish_pipeline
from reeldex.flows.train import train_as_flow_run

if TYPE_CHECKING:
    from reeldex.flows.extraction.prepare import PreparedRun
    from reeldex.flows.extraction.run_report import RunReport

DESCRIPTION = """\
**From a folder of videos to a searchable index**: extract features, train or use an embedding, evaluate it, build the
index.

1. *Videos*: a folder of videos, one video, or a list. *Output folder*: gets `features`, `embedding` and `index`.
2. *Checkpoint*: the embedding; `published` is the HowTo100M one. Or *Train on*: the data set to train one on, with
   these videos; with a checkpoint as well, training starts from it.
3. *Test sets*: of these videos, if any.
4. Press **Submit**. Steps that are up to date are skipped: run it again to process new videos.

Each step is a child run with its own log and artifacts. The *Artifacts* tab of this run shows what the steps found and
how to search next. **Retry** continues where it stopped.
"""


FORM = Form(
    "pipeline",
    (
        "extract",
        "decode",
        "compute",
        "fetch",
        "execution",
        "train",
        "evaluate",
        "index",
        "datasets",
        "words",
        "weights",
    ),
    (
        key_field("words.file", "word_vectors"),
        key_field("words.train_own", "learn_word_vectors"),
        key_field("extract.weights", "network_weights"),
        key_field(
            "compute.device",
            None,
            "train.device",
            "evaluate.device",
            "index.device",
            about="auto (CUDA if available, else the CPU), cpu, cuda or cuda:N, for all steps. Several for the "
            "extraction alone: compute.device in the further settings.",
        ),
    ),
    former={
        "options": "extract",
        "decode": "decode",
        "compute": "compute",
        "training": "train",
        "evaluation": "evaluate",
        "index": "index",
        "datasets": "datasets",
        "words": "words",
        "weights": "weights",
    },
    unused=("index.folder",),
)


@form_flow(FORM, description=DESCRIPTION, run_name=pipeline_run_name, example='{"train.epochs": 5}')
def pipeline(  # noqa: PLR0913 - each is a field of the form in the UI
    *,
    source: Source,
    more_sources: MoreSources = [],  # noqa: B006 - never written to
    folder: Annotated[NonEmpty, Field(title="Output folder", description="Gets `features`, `embedding` and `index`.")],
    checkpoint: Annotated[
        str,
        Field(
            title="Checkpoint",
            description="The embedding, or what to start training from; published is the HowTo100M one.",
        ),
    ] = "",
    train_on: Annotated[
        TrainOn,
        Field(
            title="Train on",
            description="The data set to train an embedding on; its videos are those above. none: use the checkpoint.",
        ),
    ] = NO_TRAINING,
    evaluate_on: Annotated[
        list[TestSet],
        Field(title="Test sets", description="The data sets to evaluate on; their videos are those above."),
    ] = [],  # noqa: B006
    data_folder: DataFolder = "",
    config: PipelineConfig,
    when_busy: WhenStoreBusy = WhenBusy.WAIT,
    wait_seconds: LongestWait = 86_400.0,
) -> State[Any]:
    """Extract, train or use an embedding, evaluate and index; steps that are up to date are skipped."""
    training = None if train_on == NO_TRAINING else TrainingDataset(train_on)
    for each in dict.fromkeys([*([training] if training else []), *evaluate_on]):
        config = config.with_data_folder(each, data_folder)
    request = PipelineRequest(
        source, Path(folder), config, checkpoint, training, tuple(evaluate_on), tuple(more_sources)
    )
    prepared = request.prepare(handed_on(request.sources, request.store, config))
    found = StepsFound()
    with found.published_on_failure():
        report = run_pipeline(request, prepared, flow_steps(when_busy, wait_seconds, found))
    publish_pipeline(report.by_step(), request.folder / INDEX)
    name = None if report.succeeded else "Completed with failures"
    return Completed(name=name, message=f"{report.sentence()}.", data=report)


def flow_steps(when_busy: WhenBusy, wait_seconds: float, found: StepsFound) -> PipelineSteps:
    """Return the steps of a pipeline as flows, each of which creates a child flow run and is added to `found`."""

    def extract_features(prepared: PreparedRun) -> RunReport:
        return extract_as_flow_run(prepared, when_busy, wait_seconds)

    return PipelineSteps(
        found.of("features", extract_features),
        found.of("embedding", train_as_flow_run),
        found.of("evaluation", evaluate_as_flow_run),
        found.of("index", index_as_flow_run),
    )


def pipeline_as_flow_run(
    request: PipelineRequest, prepared: PreparedRun, when_busy: WhenBusy, wait_seconds: float
) -> PipelineReport:
    """Create a flow run for a request and its prepared extraction, and return its report or raise its error."""
    with handing_on(prepared):
        return report_of(
            PipelineReport,
            pipeline,
            source=request.source,
            more_sources=list(request.more_sources),
            folder=str(request.folder),
            checkpoint=request.checkpoint,
            train_on=request.train_on.value if request.train_on else NO_TRAINING,
            evaluate_on=list(request.evaluate_on),
            when_busy=when_busy,
            wait_seconds=wait_seconds,
            **FORM.parameters(request.config),
        )
