"""The flow `rerun-failed`: process missing, incomplete or damaged shards, and optionally retry failed videos."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import runtime
from prefect.client.schemas.objects import State
from pydantic import Field

from reeldex.flows.config.forms import Form, key_field
from reeldex.flows.config.pipeline import NonEmpty, PipelineConfig, ReasonName, ShardNumber, WhenBusy
from reeldex.flows.extraction.choice import Choice
from reeldex.flows.extraction.prepare import PreparedRun, prepare_rerun
from reeldex.flows.extraction.run_report import RunReport
from reeldex.flows.extraction.store_faults import store_faults
from reeldex.flows.extraction.store_use import store_use
from reeldex.flows.progress.sinks import progress_bar
from reeldex.flows.runs.as_flow_run import handed_on, handing_on, report_of
from reeldex.flows.runs.extraction import report_if_nothing_to_do, run_as_tasks
from reeldex.flows.runs.form_fields import ExistingStore, LongestWait, WhenStoreBusy
from reeldex.flows.runs.form_flow import form_flow
from reeldex.flows.runs.names import rerun_run_name
from reeldex.flows.runs.prefect_executor import require_task_runner
from reeldex.flows.runs.states import completed
from reeldex.flows.runs.tasks import plan_rerun, planning
from reeldex.storage.schema import REASONS

DESCRIPTION = """\
**Complete a store**: process shards that are missing, incomplete or damaged.

1. *Store*: the folder of features.
2. *Retry failed videos*: also these; *Only failures for these reasons* limits it (none: all).
3. *Only these shards*, *Only these videos*: instead, extract these again, complete or not.
4. Press **Submit**. Complete shards are skipped.

Extractors, weights and options of decoding are those each shard was planned for; only device and computation can be
configured.
"""


FORM = Form(
    "rerun-failed",
    ("decode", "compute", "fetch", "execution", "weights"),
    (key_field("compute.device"), key_field("execution.engine")),
    former={"decode": "decode", "compute": "compute", "weights": "weights"},
)


@form_flow(FORM, description=DESCRIPTION, run_name=rerun_run_name, example='{"compute.limits.timeout_seconds": 7200}')
def rerun(  # noqa: PLR0913 - each is a field of the form in the UI
    *,
    store: ExistingStore,
    broken_videos: Annotated[
        bool, Field(title="Retry failed videos", description="Also extract the videos that failed.")
    ] = False,
    reasons: Annotated[
        list[ReasonName],
        Field(
            title="Only failures for these reasons",
            description="Limits the retry to videos that failed, or were truncated, for these reasons. Empty: all.",
        ),
    ] = [],  # noqa: B006 - never written to
    shards: Annotated[
        list[ShardNumber],
        Field(
            title="Only these shards",
            description="Extract all videos of these shards again, complete or not, and nothing else; numbers as in "
            "file names.",
        ),
    ] = [],  # noqa: B006
    videos: Annotated[
        list[NonEmpty],
        Field(
            title="Only these videos",
            description="Extract the videos with these ids again, whatever their outcome, and nothing else.",
        ),
    ] = [],  # noqa: B006
    config: PipelineConfig,
    when_busy: WhenStoreBusy = WhenBusy.WAIT,
    wait_seconds: LongestWait = 86_400.0,
) -> State[Any]:
    """Process missing, incomplete or damaged shards of a store, each in its planned feature spaces."""
    retry = tuple(reasons) or REASONS if broken_videos else ()
    return completed(_rerun(store, config, retry, Choice(tuple(shards), tuple(videos)), when_busy, wait_seconds))


def _rerun(  # noqa: PLR0913, PLR0917 - those of the flow
    store: str, config: PipelineConfig, retry: tuple[str, ...], choice: Choice, when_busy: WhenBusy, wait_seconds: float
) -> RunReport:
    handed = handed_on((), store, config, retry, choice)
    if handed is not None and (report := report_if_nothing_to_do(handed)) is not None:
        return report
    require_task_runner(config.execution)
    prepared = handed or prepare_rerun(store, config, retry, choice)
    request = (retry, choice, config) if runtime.deployment.id else None
    lease_seconds = config.compute.lease_seconds
    with (
        store_faults(prepared.store.path),
        store_use(prepared.store, when_busy, wait_seconds, lease_seconds, request) as use,
    ):
        with use.planning():
            prepared = prepared.renewed()
            with planning(prepared):
                shards = plan_rerun(store, retry, choice.shards, choice.videos)["shards"]
        known = range(prepared.store.shard_count())
        return run_as_tasks(prepared, [shard for shard in shards if shard in known], {})


def rerun_as_flow_run(prepared: PreparedRun, when_busy: WhenBusy, wait_seconds: float) -> RunReport:
    """Create a flow run for a prepared rerun, and return its report or raise its error."""
    with progress_bar(), handing_on(prepared):
        return report_of(
            RunReport,
            rerun,
            store=str(prepared.store_folder),
            broken_videos=bool(prepared.retry),
            reasons=list(prepared.retry),
            shards=list(prepared.choice.shards),
            videos=list(prepared.choice.videos),
            when_busy=when_busy,
            wait_seconds=wait_seconds,
            **FORM.parameters(prepared.config),
        )
