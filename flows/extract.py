"""The flow `extract`: from a folder or list of videos to shards of features."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

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
from reeldex.flows.extraction.prepare import PreparedRun, prepare
from reeldex.flows.extraction.run_report import RunReport
from reeldex.flows.extraction.store_faults import store_faults
from reeldex.flows.extraction.store_lock import store_lock
from reeldex.flows.progress.sinks import progress_bar
from reeldex.flows.runs.as_flow_run import handed_on, handing_on, report_of
from reeldex.flows.runs.extraction import report_if_nothing_to_do, run_as_tasks
from reeldex.flows.runs.names import extract_run_name
from reeldex.flows.runs.states import completed, run_to_state
from reeldex.flows.runs.tasks import plan_extraction, planning

DESCRIPTION = """\
Extract **features of every video** in a folder that the store does not have yet.

1. *source*: a folder (searched with its subfolders), one video, a pattern such as `videos/**/*.mp4`, or a list of
   videos (`.txt`, `.csv`, `.tsv`, `.jsonl`). *more_sources*: further ones.
2. *store*: the folder for the features; created if absent.
3. Press **Submit**. New and changed videos are extracted, all others are skipped: it is safe to run it again.

While it runs, its *Artifacts* tab shows progress. After the run, the tab holds a summary, a table of the
failed videos with a remedy for each, and pictures of processed videos.

Broken videos do not fail the run: it ends as *Completed with failures* and names them. If shards were lost (a dead
process, out of memory), the run is *Failed*; press **Retry** to process only those.
"""


@flow(name="extract", description=DESCRIPTION, flow_run_name=extract_run_name)
def extract(  # noqa: PLR0913, PLR0917 - each is a field of the form in the UI
    source: NonEmpty,
    store: NonEmpty,
    options: ExtractConfig = ExtractConfig(),  # noqa: B008 - frozen
    compute: ComputeConfig = ComputeConfig(),  # noqa: B008
    weights: WeightsConfig = WeightsConfig(),  # noqa: B008
    when_busy: WhenBusy = WhenBusy.WAIT,
    wait_seconds: Seconds = 86_400.0,
    decode: DecodeOptions = DecodeOptions(),  # noqa: B008
    more_sources: list[NonEmpty] = [],  # noqa: B006 - never written to
) -> State[Any]:
    """Extract features of every video in a folder, file or list that the store does not have yet.

    Args:
        source: A folder of videos, one video, a pattern, or a list (.txt, .csv, .tsv, .jsonl).
        store: The folder of the feature store; created if absent.
        options: What is extracted.
        compute: The device, and how to compute.
        weights: Where the networks' weights are stored.
        when_busy: What to do while another run uses the store (wait for it, skip this run, or fail).
        wait_seconds: Maximum time to wait for such a run, in seconds.
        decode: Which picture of a file is seen, and how.
        more_sources: Further folders, videos or lists.
    """
    config = PipelineConfig(extract=options, decode=decode, compute=compute, weights=weights)
    wait = wait_seconds if when_busy is WhenBusy.WAIT else 0.0
    return run_to_state(lambda: completed(_extract((source, *more_sources), store, config, when_busy, wait)))


def _extract(
    source: tuple[str, ...], store: str, config: PipelineConfig, when_busy: WhenBusy, wait_seconds: float
) -> RunReport:
    handed = handed_on(source, store, config)
    if handed is not None and (report := report_if_nothing_to_do(handed)) is not None:
        return report
    prepared = handed or prepare(source, store, config, retried=(flow_run.run_count or 0) > 1)
    settings = config.model_dump(mode="json")
    # One source is a text, as in runs of older releases, whose plans a retry reuses.
    asked = (source[0] if len(source) == 1 else source, store, prepared.spaces, settings)
    with store_faults(prepared.store.path), store_lock(prepared.store, when_busy, wait_seconds):
        prepared = prepared.renewed()
        with planning(prepared):
            plan = plan_extraction(*asked)
            if any(shard >= len(prepared.store.manifests()) for shard in plan["shards"]):
                # A retried run reuses its persisted plan, but the store has been removed since.
                plan = plan_extraction.with_options(refresh_cache=True)(*asked)
        return run_as_tasks(prepared, plan["shards"], plan["found"])


def extract_as_flow_run(prepared: PreparedRun, when_busy: WhenBusy, wait_seconds: float) -> RunReport:
    """Create a flow run for a prepared extraction, and return its report or raise its error."""
    config, store = prepared.config, str(prepared.store_folder)
    first, *more = prepared.source
    # The command draws the progress bar, not the flow, which may run in another process.
    with progress_bar(), handing_on(prepared):
        return report_of(
            RunReport,
            extract,
            first,
            store,
            options=config.extract,
            decode=config.decode,
            compute=config.compute,
            weights=config.weights,
            when_busy=when_busy,
            wait_seconds=wait_seconds,
            more_sources=more,
        )
