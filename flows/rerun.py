"""The flow `rerun-failed`: process missing, incomplete or damaged shards, and optionally retry failed videos."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from reeldex.flows.config.pipeline import (
    ComputeConfig,
    DecodeOptions,
    NonEmpty,
    PipelineConfig,
    ReasonName,
    Seconds,
    ShardNumber,
    WeightsConfig,
    WhenBusy,
)
from reeldex.flows.extraction.choice import Choice
from reeldex.flows.extraction.prepare import PreparedRun, prepare_rerun
from reeldex.flows.extraction.run_report import RunReport
from reeldex.flows.extraction.store_faults import store_faults
from reeldex.flows.extraction.store_lock import store_lock
from reeldex.flows.progress.sinks import progress_bar
from reeldex.flows.runs.as_flow_run import handed_on, handing_on, report_of
from reeldex.flows.runs.extraction import report_if_nothing_to_do, run_as_tasks
from reeldex.flows.runs.names import rerun_run_name
from reeldex.flows.runs.states import completed, run_to_state
from reeldex.flows.runs.tasks import plan_rerun, planning
from reeldex.storage.schema import REASONS

DESCRIPTION = """\
**Complete a store**: process shards that are missing, incomplete or damaged.

1. *store*: the folder of features.
2. *broken_videos*: also retry failed videos; *reasons* limits this to some reasons (none: all).
3. *shards*, *videos*: instead, extract these again, complete or not.
4. Press **Submit**. Complete shards are skipped.

Extractors, weights and options of decoding are those each shard was planned for; only device and computation can be
configured.
"""


@flow(name="rerun-failed", description=DESCRIPTION, flow_run_name=rerun_run_name)
def rerun(  # noqa: PLR0913, PLR0917 - each is a field of the form in the UI
    store: NonEmpty,
    broken_videos: bool = False,  # noqa: FBT001, FBT002
    reasons: list[ReasonName] = [],  # noqa: B006 - never written to
    compute: ComputeConfig = ComputeConfig(),  # noqa: B008 - frozen
    weights: WeightsConfig = WeightsConfig(),  # noqa: B008
    when_busy: WhenBusy = WhenBusy.WAIT,
    wait_seconds: Seconds = 86_400.0,
    decode: DecodeOptions = DecodeOptions(),  # noqa: B008
    shards: list[ShardNumber] = [],  # noqa: B006 - never written to
    videos: list[NonEmpty] = [],  # noqa: B006
) -> State[Any]:
    """Process missing, incomplete or damaged shards of a store, each in its planned feature spaces.

    Args:
        store: The folder of the feature store.
        broken_videos: Whether to retry failed videos.
        reasons: Only videos that failed, or were truncated, for these reasons; all if empty.
        compute: The device, and how to compute.
        weights: Where the networks' weights are stored.
        when_busy: What to do while another run uses the store (wait for it, skip this run, or fail).
        wait_seconds: Maximum time to wait for such a run, in seconds.
        decode: Leave at its defaults: each shard is decoded as it was planned; other options are refused.
        shards: Extract all videos of these shards again, complete or not, and nothing else; numbers as in file names.
        videos: Extract these videos again, whatever their outcome, and nothing else; their ids.
    """
    config = PipelineConfig(decode=decode, compute=compute, weights=weights)
    retry = tuple(reasons) or REASONS if broken_videos else ()
    wait = wait_seconds if when_busy is WhenBusy.WAIT else 0.0
    choice = Choice(tuple(shards), tuple(videos))
    return run_to_state(lambda: completed(_rerun(store, config, retry, choice, when_busy, wait)))


def _rerun(  # noqa: PLR0913, PLR0917 - those of the flow
    store: str, config: PipelineConfig, retry: tuple[str, ...], choice: Choice, when_busy: WhenBusy, wait_seconds: float
) -> RunReport:
    handed = handed_on((), store, config, retry, choice)
    if handed is not None and (report := report_if_nothing_to_do(handed)) is not None:
        return report
    prepared = handed or prepare_rerun(store, config, retry, choice)
    with store_faults(prepared.store.path), store_lock(prepared.store, when_busy, wait_seconds):
        prepared = prepared.renewed()
        with planning(prepared):
            shards = plan_rerun(store, retry, choice.shards, choice.videos)["shards"]
        known = range(len(prepared.store.manifests()))
        return run_as_tasks(prepared, [shard for shard in shards if shard in known], {})


def rerun_as_flow_run(prepared: PreparedRun, when_busy: WhenBusy, wait_seconds: float) -> RunReport:
    """Create a flow run for a prepared rerun, and return its report or raise its error."""
    config, retry = prepared.config, list(prepared.retry)
    with progress_bar(), handing_on(prepared):
        return report_of(
            RunReport,
            rerun,
            str(prepared.store_folder),
            broken_videos=bool(retry),
            reasons=retry,
            compute=config.compute,
            decode=config.decode,
            weights=config.weights,
            when_busy=when_busy,
            wait_seconds=wait_seconds,
            shards=list(prepared.choice.shards),
            videos=list(prepared.choice.videos),
        )
