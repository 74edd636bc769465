"""The flow `extract`: from a folder or list of videos to shards of features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.client.schemas.objects import State

from reeldex.flows.config.pipeline import (
    ComputeConfig,
    ExtractConfig,
    NonEmpty,
    PipelineConfig,
    Seconds,
    WeightsConfig,
    WhenBusy,
)
from reeldex.flows.extraction.networks import requested_spaces
from reeldex.flows.extraction.plan import ShardTask
from reeldex.flows.extraction.preflight import require_device, require_fitting_store, require_weights
from reeldex.flows.extraction.sources import find_settled_videos
from reeldex.flows.extraction.store_access import held
from reeldex.flows.runs.names import extract_run_name
from reeldex.flows.runs.shard_tasks import run_shard_tasks
from reeldex.flows.runs.states import completed, ended
from reeldex.flows.runs.tasks import plan_extraction
from reeldex.storage.store import FeatureStore

if TYPE_CHECKING:
    from reeldex.flows.extraction.run_report import RunReport

DESCRIPTION = """\
Extract **features of every video** in a folder that the store does not have yet.

1. *source*: a folder (searched with its subfolders), one video, or a `.csv` or `.txt` list of videos.
2. *store*: the folder for the features; it is made if it is not there.
3. Press **Submit**. New and changed videos are extracted, the others are left alone: running it again is safe.

While it runs, its *Artifacts* tab shows progress. When it has ended, the tab holds a summary, a table of the videos
that failed with what to do about each, and pictures of what was processed.

A broken video never fails the run: it ends as *Completed with failures* and names them. If shards were lost (a dead
process, no memory), the run is *Failed*; press **Retry** to do just those.
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
) -> State[Any]:
    """Extract features of every video in a folder, file or list that the store does not have yet.

    Args:
        source: A folder of videos, one video, or a .csv or .txt list.
        store: The folder of the feature store; made if it is not there.
        options: What is extracted.
        compute: On what it is computed, and how.
        weights: Where the networks' weights lie.
        when_busy: What to do while another run holds the store (wait for it, skip this run, or fail).
        wait_seconds: How long to wait for such a run at most, in seconds.
    """
    config = PipelineConfig(extract=options, compute=compute, weights=weights)
    wait = wait_seconds if when_busy is WhenBusy.WAIT else 0.0
    return ended(lambda: completed(_extract(source, store, config, when_busy, wait)))


def _extract(source: str, store: str, config: PipelineConfig, when_busy: WhenBusy, wait_seconds: float) -> RunReport:
    found = find_settled_videos(source, config.extract).videos
    names = requested_spaces(config)
    require_weights(config)
    require_device(config)
    feature_store = FeatureStore(store, create=True)
    require_fitting_store(feature_store, config)
    with held(feature_store, when_busy, wait_seconds):
        settings = config.model_dump(mode="json")
        plan = plan_extraction(source, store, names, settings)
        manifests = feature_store.manifests()
        if any(shard >= len(manifests) for shard in plan["shards"]):
            # A retried run remembers its plan, but the store has been removed since.
            plan = plan_extraction.with_options(refresh_cache=True)(source, store, names, settings)
            manifests = feature_store.manifests()
        tasks = [ShardTask(shard, len(manifests[shard].videos), names) for shard in plan["shards"]]
        return run_shard_tasks(feature_store, tasks, config, found, plan["found"])
