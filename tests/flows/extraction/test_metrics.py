"""Events of shards as metrics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reeldex.extractors.work_times import WorkTimes
from reeldex.flows.execution.jobs import JobStarted, JobStopped
from reeldex.flows.extraction.events import ShardPlanned, TimeSpent, VideoDecoded, VideoFinished
from reeldex.flows.extraction.metrics import ExtractionMetrics
from reeldex.flows.extraction.shard_work import _Spent
from reeldex.flows.monitoring import metrics
from reeldex.flows.monitoring.metrics import Metric
from reeldex.flows.monitoring.run_file import RunMetrics
from reeldex.storage.schema import VideoOutcome


class Kept(RunMetrics):
    """Keeps the current values."""

    def __init__(self) -> None:
        super().__init__(None)
        self.values: dict[str, float] = {}

    def add(self, metric: Metric, amount: float = 1.0, value: str | None = None) -> None:
        self.values[metric.sample(value)] = self.values.get(metric.sample(value), 0.0) + amount

    def set(self, metric: Metric, amount: float) -> None:
        self.values[metric.sample()] = amount

    def of(self, *of: Metric) -> list[float]:
        return [self.values[each.sample()] for each in of]


QUEUES = (metrics.SHARDS_WAITING, metrics.SHARDS_RUNNING, metrics.VIDEOS_WAITING, metrics.QUEUE_DEPTH)


def finished(shard: int, reason: str | None = None) -> VideoFinished:
    return VideoFinished(
        shard, VideoOutcome("a", "a.mp4", "failed" if reason else "ok", reason, "Why." if reason else "", attempts=1)
    )


def test_queues_follow_the_shards() -> None:
    kept = Kept()
    record = ExtractionMetrics(kept, [(3, 10), (4, 10)])
    assert kept.of(*QUEUES) == [2, 0, 20, 0]
    record(JobStarted(3))
    record(ShardPlanned(3, 6, 10))  # four of its videos have their outcomes
    record(TimeSpent(3, queue_depth=5))
    assert kept.of(*QUEUES) == [1, 1, 16, 5]
    record(finished(3))
    record(finished(3, "timeout"))
    record(JobStopped(3))
    assert kept.of(*QUEUES) == [1, 0, 14, 0]
    record(JobStarted(3))  # a retry: what was finished stays so
    record(ShardPlanned(3, 4, 10))
    assert kept.of(*QUEUES) == [1, 1, 14, 0]
    for _ in range(9):
        record(finished(3))
    assert kept.of(metrics.VIDEOS_WAITING) == [10], "never less than none in shard 3"


def test_counters_follow_videos_time_and_shards() -> None:
    kept = Kept()
    record = ExtractionMetrics(kept, [(0, 2)])
    record(VideoDecoded(1.5))
    record(VideoDecoded(2.0))
    record(finished(0))
    record(finished(0, "too_large"))
    record(TimeSpent(0, 3.0, 2.0, 1.0, 4))
    record(TimeSpent(0, 0.5, 0.25, 0.125, 0, 0.0625))
    record.end(done=1, lost=2)
    assert kept.of(metrics.VIDEO_SECONDS, metrics.DECODE_SECONDS, metrics.DEVICE_SECONDS, metrics.WAITING_SECONDS) == [
        3.5,
        3.5,
        2.25,
        1.125,
    ]
    assert kept.of(metrics.FETCHING_SECONDS) == [0.0625]
    assert kept.values[metrics.VIDEOS.sample("ok")] == kept.values[metrics.VIDEOS.sample("failed")] == 1
    assert kept.values[metrics.FAILURES.sample("too_large")] == 1
    assert [kept.values[metrics.SHARDS.sample(each)] for each in ("done", "lost")] == [1, 2]


def test_time_spent_is_reported_in_differences_that_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    times, events, now = WorkTimes(), list[object](), [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    spent = _Spent(7, times, events.append)
    times.decode_seconds, times.queue_depth = 0.5, 3
    spent.report()
    assert events == [], "at most once per second"
    now[0] += 1.0
    spent.report()
    times.decode_seconds, times.device_seconds, times.waiting_seconds = 2.0, 1.0, 0.25
    times.fetching_seconds = 0.125
    spent.report(last=True)
    assert events == [TimeSpent(7, 0.5, 0.0, 0.0, 3), TimeSpent(7, 1.5, 1.0, 0.25, 0, 0.125)]


def test_decoding_is_timed_without_the_time_of_its_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def decoded() -> Iterator[str]:
        for item in "ab":
            now[0] += 2.0
            yield item
        now[0] += 1.0
        raise ValueError("broken")

    times = WorkTimes()
    items = times.decoding(decoded())
    for expected in "ab":
        assert next(items) == expected
        now[0] += 100.0
    with pytest.raises(ValueError, match="broken"):
        next(items)
    assert times.decode_seconds == 5.0, "also the time of a decoder that failed"
