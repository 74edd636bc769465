"""Progress of an extraction, from the events of its shards."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING

from reeldex.flows.execution.jobs import JobStarted, JobStopped
from reeldex.flows.extraction.events import ShardPlanned, VideoDecoded, VideoFinished
from reeldex.flows.extraction.file_names import printable
from reeldex.flows.extraction.run_time import Estimate
from reeldex.flows.progress.progress import Progress, Snapshot, current_sinks
from reeldex.flows.progress.sinks import LogSink
from reeldex.quantities import duration

if TYPE_CHECKING:
    from reeldex.flows.progress.work_rate import WorkRate
    from reeldex.storage.schema import VideoOutcome

log = logging.getLogger(__name__)

_FEWEST_FINISHED = 2  # videos before an estimate of the whole time
_WARNINGS_SHOWN = 20  # per shard; a folder of broken files must not flood the log


class ExtractionProgress:
    """Counts the events of shards with `videos` videos in total, and shows them in the log and on the current sinks.

    Events may come from several threads.
    """

    def __init__(self, videos: int) -> None:
        self.started: set[int] = set()
        """The shards that were worked on."""
        self.extracted: set[int] = set()
        """The shards of which at least one video was extracted."""
        self._videos = videos
        self._ended = False
        self._lock = threading.RLock()
        self._done: dict[int, int] = {}  # finished videos per shard
        self._warnings: Counter[int] = Counter()
        self._finished = self._failed = 0
        self._seconds = 0.0
        self._devices: set[str] = set()
        self._estimate: Estimate | None = None
        self._progress = Progress(self._describe, LogSink(), *current_sinks())

    def __call__(self, event: object) -> None:
        """Record an event."""
        with self._lock:
            match event:
                case JobStarted(shard, device):
                    self.started.add(shard)
                    self._devices.add(device)
                    self._progress.rate.started(shard)
                case JobStopped(shard):
                    self._progress.rate.stopped(shard)
                case ShardPlanned(shard, videos, of):
                    self._done[shard] = of - videos  # reset if the shard is retried
                case VideoDecoded(seconds):
                    self._seconds += seconds
                case VideoFinished(shard, outcome):
                    self.extracted.add(shard)
                    self._done[shard] += 1
                    self._finished += 1
                    self._failed += outcome.status == "failed"
                    self._estimate_once()
                    self._warn(shard, outcome)
        self._progress.update()

    def end(self) -> None:
        """Show the final state; nothing is left to wait for, also if the work was not finished."""
        self._ended = True
        self._progress.update(last=True)

    @property
    def worked_seconds(self) -> float:
        """Seconds during which at least one shard was worked on."""
        return self._progress.rate.worked_seconds

    @property
    def devices(self) -> int:
        """The number of devices that have worked."""
        return len(self._devices)

    @property
    def estimate(self) -> Estimate | None:
        """The total time as it was estimated after a tenth of the videos; None before, and for a few videos."""
        return self._estimate

    def _estimate_once(self) -> None:
        left = self._videos - sum(self._done.values())
        if self._estimate is None and left and self._finished >= max(_FEWEST_FINISHED, (self._finished + left) / 10):
            rate = self._progress.rate
            seconds = rate.worked_seconds + (rate.seconds_left(self._finished, left) or 0.0)
            self._estimate = Estimate(seconds, self._finished)

    def _warn(self, shard: int, outcome: VideoOutcome) -> None:
        if not outcome.message:
            return
        self._warnings[shard] += 1
        if self._warnings[shard] <= _WARNINGS_SHOWN:
            what = outcome.reason or outcome.status
            log.warning("%s: %s: %s", printable(outcome.path), what, outcome.message)
        elif self._warnings[shard] == _WARNINGS_SHOWN + 1:
            log.warning("Further warnings of shard %05d are only counted; see `reeldex status --failures`.", shard)

    def _describe(self, rate: WorkRate) -> Snapshot:
        with self._lock:
            done, failed = sum(self._done.values()), self._failed
            speed = f"{rate.per_second(self._seconds):,.1f} s of video per second"
            left = None if self._ended else rate.seconds_left(self._finished, self._videos - done)
        rest = f", about {duration(left)} left" if left else ""
        return Snapshot(
            done,
            self._videos,
            "videos",
            f"{speed}, {failed:,} failed{rest}",
            f"{done:,} of {self._videos:,} videos done, {failed:,} failed, {speed}{rest}",
        )
