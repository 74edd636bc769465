"""The flow `pipeline`: from a folder of videos to a searchable index, in one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from reeldex.flows.config.datasets import DatasetsConfig
from reeldex.flows.config.learning import EvaluateConfig, TestSet, TrainConfig, TrainingDataset, WordsConfig
from reeldex.flows.config.pipeline import (
    ComputeConfig,
    DecodeOptions,
    ExtractConfig,
    NonEmpty,
    PipelineConfig,
    Seconds,
    WeightsConfig,
    WhenBusy,
)
from reeldex.flows.config.search import IndexConfig
from reeldex.flows.evaluate import evaluate_as_flow_run
from reeldex.flows.extract import extract_as_flow_run
from reeldex.flows.index import index_as_flow_run
from reeldex.flows.learning.pipeline import PipelineReport, PipelineRequest, PipelineSteps, run_pipeline
from reeldex.flows.runs.as_flow_run import handed_on, handing_on, report_of
from reeldex.flows.runs.names import pipeline_run_name
from reeldex.flows.runs.states import run_to_state
from reeldex.flows.train import train_as_flow_run

if TYPE_CHECKING:
    from reeldex.flows.extraction.prepare import PreparedRun
    from reeldex.flows.extraction.run_report import RunReport

DESCRIPTION = """\
**From a folder of videos to a searchable index**: extract features, train or use an embedding, evaluate it, build the
index.

1. *source*: a folder of videos, one video, or a list. *folder*: gets `features`, `embedding` and `index`.
2. *checkpoint*: the embedding; `published` is the HowTo100M one. Or *train_on*: the data set to train one on, whose
   videos are those of *source*; with a checkpoint as well, training starts from it.
3. *evaluate_on*: test sets of these videos, if any.
4. Press **Submit**. Steps that are up to date are skipped: run it again to process new videos.

Each step is a child run with its own log and artifacts. **Retry** continues where it stopped.
"""


@flow(name="pipeline", description=DESCRIPTION, flow_run_name=pipeline_run_name)
def pipeline(  # noqa: PLR0913, PLR0917 - each is a field of the form in the UI
    source: NonEmpty,
    folder: NonEmpty,
    checkpoint: str = "",
    train_on: TrainingDataset | None = None,
    evaluate_on: list[TestSet] = [],  # noqa: B006 - never written to
    options: ExtractConfig = ExtractConfig(),  # noqa: B008 - frozen
    compute: ComputeConfig = ComputeConfig(),  # noqa: B008
    training: TrainConfig = TrainConfig(),  # noqa: B008
    evaluation: EvaluateConfig = EvaluateConfig(),  # noqa: B008
    index: IndexConfig = IndexConfig(),  # noqa: B008
    datasets: DatasetsConfig = DatasetsConfig(),  # noqa: B008
    words: WordsConfig = WordsConfig(),  # noqa: B008
    weights: WeightsConfig = WeightsConfig(),  # noqa: B008
    when_busy: WhenBusy = WhenBusy.WAIT,
    wait_seconds: Seconds = 86_400.0,
    decode: DecodeOptions = DecodeOptions(),  # noqa: B008
    more_sources: list[NonEmpty] = [],  # noqa: B006 - never written to
) -> State[Any]:
    """Extract, train or use an embedding, evaluate and index; steps that are up to date are skipped.

    Args:
        source: A folder of videos, one video, a pattern, or a list (.txt, .csv, .tsv, .jsonl).
        folder: The folder for features, embedding and index; created if absent.
        checkpoint: The embedding, or the checkpoint to start training from; published is the HowTo100M one.
        train_on: The data set to train an embedding on; its videos are those of the source.
        evaluate_on: The test sets to evaluate on; their videos are those of the source.
        options: What is extracted.
        compute: The device for features, and how to compute.
        training: How to train.
        evaluation: How to evaluate.
        index: Which moments are indexed; its folder is not used here.
        datasets: Where the data sets are stored.
        words: The word vectors.
        weights: Where downloads are stored.
        when_busy: What to do while another run uses the store (wait for it, skip this run, or fail).
        wait_seconds: Maximum time to wait for such a run, in seconds.
        decode: Which picture of a file is seen, and how.
        more_sources: Further folders, videos or lists.
    """
    config = PipelineConfig(
        extract=options,
        decode=decode,
        compute=compute,
        train=training,
        evaluate=evaluation,
        index=index,
        datasets=datasets,
        words=words,
        weights=weights,
    )

    def work() -> State[Any]:
        test_sets, more = tuple(evaluate_on), tuple(more_sources)
        request = PipelineRequest(source, Path(folder), config, checkpoint, train_on, test_sets, more)
        prepared = request.prepare(handed_on(request.sources, request.store, config))
        report = run_pipeline(request, prepared, flow_steps(when_busy, wait_seconds))
        name = None if report.succeeded else "Completed with failures"
        return Completed(name=name, message=f"{report}", data=report)

    return run_to_state(work)


def flow_steps(when_busy: WhenBusy, wait_seconds: float) -> PipelineSteps:
    """Return the steps of a pipeline as flows, each of which creates a child flow run."""

    def extract_features(prepared: PreparedRun) -> RunReport:
        return extract_as_flow_run(prepared, when_busy, wait_seconds)

    return PipelineSteps(extract_features, train_as_flow_run, evaluate_as_flow_run, index_as_flow_run)


def pipeline_as_flow_run(
    request: PipelineRequest, prepared: PreparedRun, when_busy: WhenBusy, wait_seconds: float
) -> PipelineReport:
    """Create a flow run for a request and its prepared extraction, and return its report or raise its error."""
    config = request.config
    with handing_on(prepared):
        return report_of(
            PipelineReport,
            pipeline,
            request.source,
            str(request.folder),
            checkpoint=request.checkpoint,
            train_on=request.train_on,
            evaluate_on=list(request.evaluate_on),
            options=config.extract,
            decode=config.decode,
            compute=config.compute,
            training=config.train,
            evaluation=config.evaluate,
            index=config.index,
            datasets=config.datasets,
            words=config.words,
            weights=config.weights,
            when_busy=when_busy,
            wait_seconds=wait_seconds,
            more_sources=list(request.more_sources),
        )
