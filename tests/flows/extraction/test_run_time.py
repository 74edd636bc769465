from __future__ import annotations

from dataclasses import replace

import pytest

from reeldex.flows.execution.jobs import JobStarted, JobStopped
from reeldex.flows.extraction.events import ShardPlanned, VideoFinished
from reeldex.flows.extraction.progress import ExtractionProgress
from reeldex.flows.extraction.run_time import Estimate, RunTime
from reeldex.storage.schema import VideoOutcome

TIME = RunTime(3600.0, 1000.0, 700.0, 200.0, 510.0, 2, Estimate(400.0, 3))
OK = VideoOutcome("v", "/v.mp4", "ok", None, "", attempts=1)


def test_the_time_is_said_in_lines() -> None:
    assert TIME.lines() == [
        "time: 8 min on 2 devices, device-bound: networks 70%, waiting for frames 20%, the rest 10%",
        "speed per device: 3.60 s of video per second, 86.4 video-hours per day",
        "estimate: 400 s after the first 3 videos, actually 510 s (+27%)",
    ]
    assert replace(TIME, estimate=None).lines() == TIME.lines()[:2]
    assert replace(TIME, estimate=Estimate(400.0)).lines()[2] == "estimate: 400 s by --dry-run, actually 510 s (+27%)"
    assert RunTime(0.0, 0.0, 0.0, 0.0).lines() == []


@pytest.mark.parametrize(
    ("device", "waiting", "bound", "said"),
    [
        (700.0, 200.0, "device", "the device: its networks were busy 70% of the time"),
        (100.0, 800.0, "decoding", "decoding: the networks waited for frames 80% of the time"),
        (0.0, 0.0, "", "none: nothing was extracted"),
    ],
)
def test_the_bound_is_decoding_or_the_device(device: float, waiting: float, bound: str, said: str) -> None:
    time = replace(TIME, device_seconds=device, waiting_seconds=waiting)
    assert time.bound == bound
    assert time.remedy.startswith(said)


def test_waiting_for_services_is_not_decoding() -> None:
    time = replace(TIME, device_seconds=100.0, waiting_seconds=800.0, fetching_seconds=600.0)
    assert time.bound == "fetching"
    assert time.remedy.startswith("fetching: the networks waited for videos from their services 60% of the time")
    assert "waiting for frames 80% (for videos that were being fetched 60%), the rest 10%" in time.lines()[0]
    assert replace(time, fetching_seconds=300.0).bound == "decoding"
    assert replace(time, device_seconds=900.0).bound == "device"
    assert replace(TIME, fetching_seconds=900.0).fetching == TIME.waiting


def test_shares_never_exceed_the_whole() -> None:
    time = replace(TIME, device_seconds=900.0, waiting_seconds=300.0)
    assert time.busy + time.waiting == pytest.approx(1.0)
    assert replace(TIME, device_seconds=2000.0).busy == 1.0


def test_programs_get_numbers() -> None:
    assert TIME.to_json() == {
        "bound_by": "device",
        "seconds_of_video_per_second": 3.6,
        "video_hours_per_day_and_device": pytest.approx(86.4),
        "device_busy_share": 0.7,
        "decode_wait_share": 0.2,
        "fetch_wait_share": 0.0,
        "wall_seconds": 510.0,
        "devices": 2,
        "estimated_seconds": 400.0,
    }


def _finish(progress: ExtractionProgress, shard: int, videos: int) -> None:
    for _ in range(videos):
        progress(VideoFinished(shard, OK))


def test_a_run_is_estimated_once_after_a_tenth_of_its_videos() -> None:
    progress = ExtractionProgress(100)
    for shard, device in ((0, "cuda:0"), (1, "cuda:1"), (2, "cuda:0")):
        progress(JobStarted(shard, device))
        progress(ShardPlanned(shard, 30, 30))
    _finish(progress, 0, 9)
    assert progress.estimate is None
    _finish(progress, 1, 1)
    estimate = progress.estimate
    assert estimate is not None
    assert estimate.after_videos == 10
    assert estimate.seconds == pytest.approx(10 * progress.worked_seconds, rel=0.5)
    _finish(progress, 2, 30)
    for shard in range(3):
        progress(JobStopped(shard))
    assert progress.estimate is estimate
    assert progress.devices == 2
    assert progress.worked_seconds > 0


def test_a_run_of_few_videos_has_no_estimate() -> None:
    progress = ExtractionProgress(2)
    progress(JobStarted(0, "cpu"))
    progress(ShardPlanned(0, 2, 2))
    _finish(progress, 0, 2)
    assert progress.estimate is None
