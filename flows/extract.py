"""The flow `extract`: from a folder or list of videos to shards of features."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import runtime
from prefect.client.schemas.objects import State
from pydantic import Field

from reeldex.flows.config.forms import Form, key_field
from reeldex.flows.config.pipeline import NonEmpty, PipelineConfig, WhenBusy
from reeldex.flows.extraction.prepare import PreparedRun, prepare
from reeldex.flows.extraction.run_report import RunReport
from reeldex.flows.extraction.store_faults import store_faults
from reeldex.flows.extraction.store_use import store_use
from reeldex.flows.progress.sinks import progress_bar
from reeldex.flows.runs.as_flow_run import handed_on, handing_on, report_of
from reeldex.flows.runs.extraction import report_if_nothing_to_do, run_as_tasks
from reeldex.flows.runs.form_fields import LongestWait, MoreSources, Source, WhenStoreBusy
from reeldex.flows.runs.form_flow import form_flow
from reeldex.flows.runs.names import extract_run_name
from reeldex.flows.runs.prefect_executor import require_task_runner
from reeldex.flows.runs.states import completed
from reeldex.flows.runs.tasks import plan_extraction, planning

DESCRIPTION = """\
Extract **features of every video** in a folder that the store does not have yet.

1. *Videos*: a folder (searched with its subfolders), one video, a pattern such as `videos/**/*.mp4`, or a list of
   videos (`.txt`, `.csv`, `.tsv`, `.jsonl`). *More videos*: further ones.
2. *Store*: the folder for the features; created if absent.
3. Press **Submit**. New and changed videos are extracted, all others are skipped: it is safe to run it again.

While it runs, its *Artifacts* tab shows progress. After the run, the tab holds a summary, a table of the
failed videos with a remedy for each, and pictures of processed videos.

Broken videos do not fail the run: it ends as *Completed with failures* and names them. If shards were lost (a dead
process, out of memory), the run is *Failed*; press **Retry** to process only those.
"""


FORM = Form(
    "extract",
    ("extract", "decode", "compute", "fetch", "execution", "weights"),
    (
        key_field("extract.extractors"),
        key_field("extract.weights", "network_weights"),
        key_field("compute.device"),
        key_field("execution.engine"),
        key_field("extract.include"),
        key_field("extract.exclude"),
        key_field("extract.settle_seconds"),
    ),
    former={"options": "extract", "decode": "decode", "compute": "compute", "weights": "weights"},
)


@form_flow(FORM, description=DESCRIPTION, run_name=extract_run_name, example='{"compute.decoders": 4}')
def extract(  # noqa: PLR0913 - each is a field of the form in the UI
    *,
    source: Source,
    store: Annotated[
        NonEmpty,
        Field(title="Store", description="Folder of the feature store, or its URL (s3://...); created if absent."),
    ],
    more_sources: MoreSources = [],  # noqa: B006 - never written to
    config: PipelineConfig,
    when_busy: WhenStoreBusy = WhenBusy.WAIT,
    wait_seconds: LongestWait = 86_400.0,
) -> State[Any]:
    """Extract features of every video in a folder, file or list that the store does not have yet."""
    return completed(_extract((source, *more_sources), store, config, when_busy, wait_seconds))


def _extract(
    source: tuple[str, ...], store: str, config: PipelineConfig, when_busy: WhenBusy, wait_seconds: float
) -> RunReport:
    handed = handed_on(source, store, config)
    if handed is not None and (report := report_if_nothing_to_do(handed)) is not None:
        return report
    require_task_runner(config.execution)
    prepared = handed or prepare(source, store, config, retried=(runtime.flow_run.run_count or 0) > 1)
    settings = config.model_dump(mode="json")
    # One source is a text, as in runs of older releases, whose plans a retry reuses.
    asked = (source[0] if len(source) == 1 else source, store, prepared.spaces, settings)
    request = asked if runtime.deployment.id else None
    lease_seconds = config.compute.lease_seconds
    with (
        store_faults(prepared.store.path),
        store_use(prepared.store, when_busy, wait_seconds, lease_seconds, request) as use,
    ):
        with use.planning():
            # While it waited, videos may have come, for which no other run has waited.
            prepared = prepare(source, store, config) if use.waited else prepared.renewed()
            with planning(prepared):
                plan = plan_extraction(*asked)
                if any(shard >= prepared.store.shard_count() for shard in plan["shards"]):
                    # A retried run reuses its persisted plan, but the store has been removed since.
                    plan = plan_extraction.with_options(refresh_cache=True)(*asked)
        return run_as_tasks(prepared, plan["shards"], plan["found"])


def extract_as_flow_run(prepared: PreparedRun, when_busy: WhenBusy, wait_seconds: float) -> RunReport:
    """Create a flow run for a prepared extraction, and return its report or raise its error."""
    first, *more = prepared.source
    # The command draws the progress bar, not the flow, which may run in another process.
    with progress_bar(), handing_on(prepared):
        return report_of(
            RunReport,
            extract,
            source=first,
            more_sources=more,
            store=str(prepared.store_folder),
            when_busy=when_busy,
            wait_seconds=wait_seconds,
            **FORM.parameters(prepared.config),
        )
