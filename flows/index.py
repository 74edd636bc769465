"""The flow `index`: from features and a checkpoint to a searchable index of moments."""

from __future__ import annotations

from typing import Annotated, Any

from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from reeldex.flows.config.forms import Form, key_field
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.extraction.report import MOST_FAILURES_LISTED
from reeldex.flows.learning.indexing import IndexingRequest, build_moment_index
from reeldex.flows.learning.indexing_progress import IndexingProgress
from reeldex.flows.progress.sinks import progress_bar
from reeldex.flows.runs.artifacts import publish_table
from reeldex.flows.runs.as_flow_run import report_of
from reeldex.flows.runs.form_fields import Checkpoint, ExistingStore
from reeldex.flows.runs.form_flow import form_flow
from reeldex.flows.runs.names import index_run_name
from reeldex.flows.runs.progress_artifact import progress_artifact
from reeldex.search.report import BuildReport

DESCRIPTION = """\
Build or refresh the **index of moments** that `reeldex search` and the search page query.

1. *Store*: the feature store of the videos. *Checkpoint*: a path, or `published` for the HowTo100M one.
2. *Index folder*: where the index is built. *Window* and *Stride*: what counts as a moment.
3. Press **Submit**. New and changed videos are added, removed videos are dropped; all others are kept.

The index in use stays in use until the new one is complete. *Artifacts* shows the recall@10 of the
index, measured against an exhaustive search.
"""


FORM = Form(
    "index",
    ("index", "datasets", "words", "weights"),
    (
        key_field("index.folder"),
        key_field("index.captions"),
        key_field("words.file", "word_vectors"),
        key_field("index.window_seconds"),
        key_field("index.stride_seconds"),
        key_field("index.missing_files"),
        key_field("index.device"),
    ),
    former={"options": "index", "datasets": "datasets", "words": "words", "weights": "weights"},
)


@form_flow(FORM, description=DESCRIPTION, run_name=index_run_name, example='{"index.nprobe": 16}')
def index(
    *,
    store: ExistingStore,
    checkpoint: Checkpoint,
    config: PipelineConfig,
    rebuild: Annotated[
        bool,
        Field(
            title="Replace another index",
            description="Replace an index of another checkpoint, store or kind of moments. Otherwise this is an error.",
        ),
    ] = False,
) -> State[Any]:
    """Build the index of moments, or bring it up to date."""
    return _index(IndexingRequest(store, checkpoint, config, rebuild))


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
    with progress_bar():
        return report_of(
            BuildReport,
            index,
            store=request.store,
            checkpoint=request.checkpoint,
            rebuild=request.rebuild,
            **FORM.parameters(request.config),
        )
