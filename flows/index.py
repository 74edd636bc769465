"""The flow `index`: from features and a checkpoint to a searchable index of moments."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from reeldex.flows.config.datasets import DatasetsConfig
from reeldex.flows.config.learning import WordsConfig
from reeldex.flows.config.pipeline import NonEmpty, PipelineConfig, WeightsConfig
from reeldex.flows.config.search import IndexConfig
from reeldex.flows.extraction.report import MOST_FAILURES_LISTED
from reeldex.flows.learning.indexing import IndexingRequest, build_moment_index
from reeldex.flows.learning.indexing_progress import IndexingProgress
from reeldex.flows.progress.sinks import progress_bar
from reeldex.flows.runs.artifacts import publish_table
from reeldex.flows.runs.as_flow_run import report_of
from reeldex.flows.runs.names import index_run_name
from reeldex.flows.runs.progress_artifact import progress_artifact
from reeldex.flows.runs.states import run_to_state
from reeldex.search.report import BuildReport

DESCRIPTION = """\
Build or refresh the **index of moments** that `reeldex search` and the search page query.

1. *store*: the feature store of the videos. *checkpoint*: a path, or `published` for the HowTo100M one.
2. *options*: the folder of the index, and what counts as a moment.
3. Press **Submit**. New and changed videos are added, removed videos are dropped; all others are kept.

The index in use stays in use until the new one is complete. *Artifacts* shows the recall@10 of the
index, measured against an exhaustive search.
"""


@flow(name="index", description=DESCRIPTION, flow_run_name=index_run_name)
def index(  # noqa: PLR0913, PLR0917 - each is a field of the form in the UI
    store: NonEmpty,
    checkpoint: NonEmpty,
    rebuild: bool = False,  # noqa: FBT001, FBT002
    options: IndexConfig = IndexConfig(),  # noqa: B008 - frozen
    datasets: DatasetsConfig = DatasetsConfig(),  # noqa: B008
    words: WordsConfig = WordsConfig(),  # noqa: B008
    weights: WeightsConfig = WeightsConfig(),  # noqa: B008
) -> State[Any]:
    """Build the index of moments, or bring it up to date.

    Args:
        store: The feature store of the videos.
        checkpoint: The checkpoint of the embedding, or published.
        rebuild: Replace an index of another checkpoint, store or kind of moments. Otherwise this is an error.
        options: Which moments are indexed, and the folder of the index.
        datasets: Where the data sets are stored; their folders may hold the word vectors.
        words: The word vectors; empty uses those of the checkpoint.
        weights: Where downloads are stored.
    """
    config = PipelineConfig(index=options, datasets=datasets, words=words, weights=weights)
    return run_to_state(lambda: _index(IndexingRequest(store, checkpoint, config, rebuild)))


def _index(request: IndexingRequest) -> State[Any]:
    with progress_artifact("Opening the store"):
        report = build_moment_index(request, IndexingProgress())
    headline = str(report).partition("\n")[0]
    publish_table(_rows(report), f"Figures: {headline}")
    if report.failed:
        publish_table(
            [{"video": video, "reason": why} for video, why in list(report.failed.items())[:MOST_FAILURES_LISTED]],
            f"Failed videos: {len(report.failed):,} could not be indexed",
        )
    if report.up_to_date:
        return Completed(name="Nothing new", message=f"{headline}.", data=report)
    name = "Completed with failures" if report.failed else None
    return Completed(name=name, message=f"{headline}.", data=report)


def _rows(report: BuildReport) -> list[dict[str, str]]:
    counts = {name: len(getattr(report, name)) for name in ("failed", "unusable_captions")}
    figures = {**report.to_json(), **counts, "notes": " ".join(report.notes)}
    return [{"figure": name.replace("_", " "), "value": str(value)} for name, value in figures.items()]


def index_as_flow_run(request: IndexingRequest) -> BuildReport:
    """Create a flow run for a request, and return its report or raise its error."""
    config = request.config
    with progress_bar():
        return report_of(
            BuildReport,
            index,
            request.store,
            request.checkpoint,
            rebuild=request.rebuild,
            options=config.index,
            datasets=config.datasets,
            words=config.words,
            weights=config.weights,
        )
