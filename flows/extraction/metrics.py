"""The metrics of an extraction, from the events of its shards."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from reeldex.flows.execution.jobs import JobStarted, JobStopped
from reeldex.flows.extraction.events import ShardPlanned, TimeSpent, VideoDecoded, VideoFinished
from reeldex.flows.monitoring import metrics
from reeldex.flows.monitoring.run_file import RunMetrics
from reeldex.storage.schema import VideoOutcome


class ExtractionMetrics:
    """Records the events of shards. `videos` is the number of videos of each shard of the run.

    Events may come from several threads. A shard that is retried waits again; its videos that were finished are counted
    as finished.
    """

    def __init__(self, run: RunMetrics, videos: Iterable[tuple[int, int]]) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._left = dict(videos)  # videos without an outcome, by shard
        self._not_started = set(self._left)
        self._running: set[int] = set()
        self._depths: dict[int, int] = {}
        self._show()

    def __call__(self, event: object) -> None:
        """Record an event."""
        with self._lock:
            match event:
                case JobStarted(shard):
                    self._running.add(shard)
                    self._not_started.discard(shard)
                case JobStopped(shard):
                    self._running.discard(shard)
                    self._depths.pop(shard, None)
                case ShardPlanned(shard, videos):
                    self._left[shard] = videos
                    # Also if another run has done it.
                    self._not_started.discard(shard)
                case VideoDecoded(seconds):
                    self._run.add(metrics.VIDEO_SECONDS, seconds)
                    return
                case VideoFinished(shard, outcome):
                    self._left[shard] = max(0, self._left.get(shard, 0) - 1)
                    self._count(outcome)
                case TimeSpent(shard, decode_seconds, device_seconds, waiting_seconds, depth, fetching_seconds):
                    self._run.add(metrics.DECODE_SECONDS, decode_seconds)
                    self._run.add(metrics.DEVICE_SECONDS, device_seconds)
                    self._run.add(metrics.WAITING_SECONDS, waiting_seconds)
                    self._run.add(metrics.FETCHING_SECONDS, fetching_seconds)
                    self._depths[shard] = depth
            self._show()

    def end(self, done: int, lost: int) -> None:
        """Count the shards that are done, and those that were lost."""
        self._run.add(metrics.SHARDS, done, "done")
        self._run.add(metrics.SHARDS, lost, "lost")

    def _count(self, outcome: VideoOutcome) -> None:
        self._run.add(metrics.VIDEOS, 1, outcome.status)
        if outcome.status == "failed":
            self._run.add(metrics.FAILURES, 1, outcome.reason)

    def _show(self) -> None:
        self._run.set(metrics.SHARDS_RUNNING, len(self._running))
        self._run.set(metrics.SHARDS_WAITING, len(self._not_started))
        self._run.set(metrics.VIDEOS_WAITING, sum(self._left.values()))
        self._run.set(metrics.QUEUE_DEPTH, sum(self._depths.values()))
