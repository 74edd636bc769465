"""Files that are brought to this machine while the decoders work: in whatever order they become ready."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reeldex.errors import InfrastructureError
from reeldex.extractors.engine import extract
from reeldex.extractors.errors import ExtractionError, FailureReason
from reeldex.extractors.frames import ExtractionFailure, VideoFeatures, VideoSource
from reeldex.extractors.options import EngineOptions
from reeldex.extractors.source_files import LocalFiles, ReadyFile
from reeldex.extractors.work_times import WorkTimes
from tests.conftest import MakeVideo
from tests.extractors.conftest import LoadTiny


@dataclass
class LateFiles:
    """Hands out these files, each after a pause, the last one first."""

    files: Sequence[str | Exception]
    pause_seconds: float = 0.0
    asked_for: list[str] = field(default_factory=list)
    handed_out: list[int] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, paths: Sequence[str]) -> None:
        self.asked_for = list(paths)

    def next_ready(self) -> ReadyFile | None:
        with self._lock:
            number = len(self.files) - 1 - len(self.handed_out)
            if number < 0 or self.closed:
                return None
            time.sleep(self.pause_seconds)  # time is tested: that of a slow fetch
            self.handed_out.append(number)
            found = self.files[number]
            return ReadyFile(number, found) if isinstance(found, str) else ReadyFile(number, error=found)

    def another_ready(self, accept: Callable[[str], bool]) -> ReadyFile | None:
        del accept
        return None

    def release(self, number: int) -> None:
        self.released.append(number)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def video(tmp_path: Path, make_video: MakeVideo) -> str:
    return str(make_video(tmp_path / "a.mp4", seconds=1.2))


def test_videos_are_decoded_as_their_files_arrive_and_keep_their_own_paths(load_tiny: LoadTiny, video: str) -> None:
    addresses = [f"s3://bucket/{name}.mp4" for name in "abc"]
    clips = [VideoSource("first", addresses[0], 0.0, 0.5), VideoSource("rest", addresses[0], 0.5, None)]
    sources = [clips[0], VideoSource("b", addresses[1]), clips[1], VideoSource("c", addresses[2])]
    refused = ExtractionError(addresses[1], FailureReason.MISSING, "There is no such object.", "Correct the list.")
    files = LateFiles([video, refused, video])
    found = {each.source.video_id: each for each in extract(sources, load_tiny(), EngineOptions(), files=files)}
    assert files.asked_for == addresses  # clips of one file need it once
    assert files.handed_out == [2, 1, 0]
    assert sorted(files.released) == [0, 1, 2]
    assert files.closed
    failure = found.pop("b")
    assert isinstance(failure, ExtractionFailure)
    assert (failure.reason, failure.message) == (FailureReason.MISSING, "There is no such object. Correct the list.")
    assert {each.source.path for each in found.values()} == {addresses[0], addresses[2]}
    assert all(isinstance(each, VideoFeatures) for each in found.values())
    (local,) = extract([VideoSource("c", video)], load_tiny(), EngineOptions())
    assert isinstance(local, VideoFeatures)
    fetched = found["c"]
    assert isinstance(fetched, VideoFeatures)
    assert {name: rows.tobytes() for name, rows in fetched.rows.items()} == {
        name: rows.tobytes() for name, rows in local.rows.items()
    }


def test_a_fault_of_the_service_ends_the_run(load_tiny: LoadTiny, video: str) -> None:
    files = LateFiles([video, InfrastructureError("The service does not answer.")])
    sources = [VideoSource("a", "s3://bucket/a.mp4"), VideoSource("b", "s3://bucket/b.mp4")]
    with pytest.raises(InfrastructureError, match="does not answer"):
        list(extract(sources, load_tiny(), EngineOptions(decoders=1), files=files))
    assert files.closed
    assert sorted(files.released) == sorted(files.handed_out)


def test_an_error_of_ours_concerns_one_video(load_tiny: LoadTiny, video: str) -> None:
    sources = [VideoSource("a", "s3://bucket/a.mp4"), VideoSource("b", "s3://bucket/b.mp4")]
    found = {
        each.source.video_id: each
        for each in extract(sources, load_tiny(), EngineOptions(), files=LateFiles([video, KeyError("oh")]))
    }
    assert isinstance(found["a"], VideoFeatures)
    failed = found["b"]
    assert isinstance(failed, ExtractionFailure)
    assert failed.reason is FailureReason.INTERNAL_ERROR


@pytest.mark.slow
def test_waiting_for_files_is_told_from_waiting_for_decoders(load_tiny: LoadTiny, video: str) -> None:
    networks = load_tiny()
    late, local = WorkTimes(), WorkTimes()
    sources = [VideoSource(str(number), f"s3://bucket/{number}.mp4") for number in range(3)]
    list(extract(sources, networks, EngineOptions(), None, late, files=LateFiles([video] * 3, pause_seconds=0.5)))
    assert 0.8 < late.fetching_seconds <= late.waiting_seconds
    list(extract([VideoSource("a", video)], networks, EngineOptions(), None, local))
    assert local.fetching_seconds < 0.2 * local.waiting_seconds


def test_files_of_this_machine_are_ready_at_once() -> None:
    files = LocalFiles()
    files.start(["a", "b", "c"])
    assert [files.next_ready(), files.another_ready("b".__eq__)] == [ReadyFile(0, "a"), ReadyFile(1, "b")]
    assert files.another_ready("b".__eq__) is None
    files.close()
    assert files.next_ready() is None
    with pytest.raises(ValueError, match="either a path or an error"):
        ReadyFile(0)
