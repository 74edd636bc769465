"""A run of a process of its own that shares a store with others; its extractor costs nothing."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from reeldex.flows.config.pipeline import PipelineConfig, WhenBusy, parse_config
from reeldex.flows.execution.jobs import OnEvent
from reeldex.flows.execution.retries import RetryRule
from reeldex.flows.extraction.plan import unfinished
from reeldex.flows.extraction.shard_job import ShardJob
from reeldex.flows.extraction.shard_work import ShardReport
from reeldex.flows.extraction.shared_shards import SharedShards, run_until_done
from reeldex.flows.extraction.store_use import store_use
from reeldex.storage import lease_owner, outcomes, publishing
from reeldex.storage.manifest import ShardManifest
from reeldex.storage.outcomes import ShardOutcomes
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoEntry, VideoOutcome
from reeldex.storage.store import FeatureStore

LEASE_SECONDS = 1.5
SPACE = FeatureSpace("resnet152.random", {"weights": "tiny"})
WORK_SECONDS = 0.15


def settings() -> PipelineConfig:
    return parse_config({"compute": {"device": "cpu", "lease_seconds": LEASE_SECONDS}}, "test")


def plan(folder: Path | str, shards: int, videos: int) -> FeatureStore:
    """Create a store with planned shards, of which nothing is extracted."""
    store = FeatureStore(folder, create=True)
    with store.lock():
        store.add_shards(
            ShardManifest(shard, tuple(_entry(shard, at) for at in range(videos)), (SPACE.name,))
            for shard in range(shards)
        )
    return store


def _entry(shard: int, at: int) -> VideoEntry:
    return VideoEntry(f"video-{shard}-{at}", f"/videos/{shard}-{at}.mp4", 10, 20)


def race(folder: str, published: str, machine: str) -> None:
    """Share the shards of a store until all are done; append the number of each that this process published."""
    # Machines that cannot see each other's processes; on a real one, the kernel tells.
    lease_owner.this_machine = lambda: machine  # type: ignore[assignment]
    # Networks are not what this is about, and would load PyTorch in every process.
    ShardJob._extract = extract_without_networks  # type: ignore[method-assign]
    vars(publishing)["write_outcomes"] = recording(Path(published))
    store = FeatureStore(folder)
    with store_use(store, WhenBusy.SHARE, 60, LEASE_SECONDS) as use:
        with use.planning():
            tasks = unfinished(store)
        jobs = [
            ShardJob(folder, task.shard, task.spaces, settings(), videos=task.videos, inspection=task.inspection)
            for task in tasks
        ]
        shared = SharedShards(store, jobs, lambda _: None, RetryRule(0, 0.0))
        results = run_until_done(shared, jobs, lambda open_jobs: {job.shard: job("cpu", print) for job in open_jobs})
    if {*results, *shared.elsewhere} != {job.shard for job in jobs}:
        os._exit(7)


def recording(published: Path) -> Callable[[Path, ShardOutcomes], None]:
    """Return what writes a shard's outcomes, the last step of publishing, and then appends the shard's number."""

    def write(root: Path, written: ShardOutcomes) -> None:
        outcomes.write_outcomes(root, written)
        with published.open("a", encoding="ascii") as file:
            file.write(f"{written.shard}\n")

    return write


def extract_without_networks(self: ShardJob, store: FeatureStore, device: str, on_event: OnEvent) -> dict[str, Any]:
    """Do what the method of a job does, with rows made up from the number of the video."""
    del device, on_event
    inspection = store.inspect(self.shard, [SPACE], self.inspection)
    for position in inspection.pending(self.retry):
        pause_seconds = random.uniform(0, 2 * WORK_SECONDS)  # noqa: S311
        time.sleep(pause_seconds)  # time is tested: that of an extraction
        entry = inspection.manifest.videos[position]
        seed = np.random.default_rng([self.shard, position])
        rows = FeatureRows(seed.normal(size=(5, 8)).astype(np.float16), 0.0, 1.0, 5.0, truncated=False, source="")
        outcome = VideoOutcome(entry.video_id, entry.path, "ok", None, "", 1)
        store.staging(self.shard).put(position, outcome, {SPACE: rows})
    store.publish_shard(self.shard, [SPACE], provenance={}, seconds_of_work=1.0)
    return ShardReport(self.shard, 1, 0, 1.0, 1.0, 1.0, 1.0).to_json()
