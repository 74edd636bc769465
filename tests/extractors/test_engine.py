"""The whole engine on real videos: who shares a batch, who fails, who stops it."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reeldex.errors import DeviceError
from reeldex.extractors import decoders, engine
from reeldex.extractors.decode import decode as real_decode
from reeldex.extractors.decoders import affects_all_videos
from reeldex.extractors.engine import extract
from reeldex.extractors.errors import DecodeError, FailureReason, FfmpegNotFoundError
from reeldex.extractors.frames import (
    DecodeSummary,
    ExtractionFailure,
    FrameBatch,
    VideoFeatures,
    VideoSource,
)
from reeldex.extractors.options import DecodeLimits, EngineOptions
from reeldex.extractors.runtimes.network import ComputedRows, Network, PendingRows, least_cosine
from reeldex.extractors.spec import ExtractorSpec
from tests.conftest import MakeVideo
from tests.extractors.conftest import LoadTiny
from tests.networks.reeldex_test_networks import TINY_3D
from tests.processes import processes_that_name
from tests.waiting import wait_until

Rows = dict[str, dict[str, bytes]]
Decode = Iterator[FrameBatch | DecodeSummary]


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory, make_video: MakeVideo) -> list[VideoSource]:
    """Four videos; two share a size, one is so short that it has a single row."""
    folder = tmp_path_factory.mktemp("engine")
    shapes = {"a": (2.6, "160x160"), "b": (1.3, "160x120"), "c": (0.2, "160x120"), "d": (1.6, "90x160")}
    return [
        VideoSource(name, str(make_video(folder / f"{name}.mp4", seconds=seconds, size=size)))
        for name, (seconds, size) in shapes.items()
    ]


@pytest.fixture
def broken(tmp_path: Path) -> VideoSource:
    (tmp_path / "broken.mp4").write_text("no video")
    return VideoSource("broken", str(tmp_path / "broken.mp4"))


@pytest.fixture(autouse=True)
def _no_decoder_is_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("decoder-")] == []


def features(
    sources: Sequence[VideoSource], networks: Sequence[Network], decoders: int = 2
) -> dict[str, VideoFeatures]:
    """Extract, all of it successfully, by video id."""
    found = {}
    for result in extract(sources, networks, EngineOptions(decoders=decoders)):
        assert isinstance(result, VideoFeatures), result
        assert result.source.video_id not in found
        found[result.source.video_id] = result
    assert set(found) == {source.video_id for source in sources}
    return found


def rows(sources: Sequence[VideoSource], networks: Sequence[Network], decoders: int = 2) -> Rows:
    return {
        video_id: {name: array.tobytes() for name, array in each.rows.items()}
        for video_id, each in features(sources, networks, decoders).items()
    }


def outcomes(results: Iterator[VideoFeatures | ExtractionFailure]) -> dict[str, FailureReason | None]:
    return {
        result.source.video_id: result.reason if isinstance(result, ExtractionFailure) else None for result in results
    }


def test_a_third_network_joins_by_one_record(load_tiny: LoadTiny, videos: list[VideoSource]) -> None:
    networks = load_tiny()
    assert [network.space for network in networks] == ["tiny2d.random", "tiny3d.random"]
    (found,) = features(videos[:1], networks).values()
    assert {name: array.shape for name, array in found.rows.items()} == {"tiny2d": (3, 16), "tiny3d": (4, 16)}
    assert found.seconds_per_row == {"tiny2d": 1.0, "tiny3d": 16 / 24}
    for array in found.rows.values():
        assert np.linalg.norm(array.astype(np.float64), axis=1) == pytest.approx(1, abs=2e-3)
        assert len(np.unique(array, axis=0)) == len(array), "the picture moves"


@pytest.mark.slow
def test_rows_lie_in_the_order_of_time_whatever_batches_they_shared(
    load_tiny: LoadTiny, videos: list[VideoSource]
) -> None:
    one_by_one = features(videos, load_tiny(batch_rows=1), decoders=1)
    shared = features(videos, load_tiny(batch_rows=3), decoders=4)
    for video_id, each in one_by_one.items():
        for name, array in each.rows.items():
            assert array.shape == shared[video_id].rows[name].shape
            assert least_cosine(array, shared[video_id].rows[name]) >= 0.9999


@pytest.mark.slow
@pytest.mark.parametrize("batch_rows", [1, 2, 5])
def test_rows_are_the_same_bits_whatever_the_batch_the_order_and_the_decoders(
    load_tiny: LoadTiny, videos: list[VideoSource], batch_rows: int
) -> None:
    networks = load_tiny(batch_rows=batch_rows)
    alone = {source.video_id: rows([source], networks)[source.video_id] for source in videos}
    assert rows(videos, networks, decoders=1) == alone
    assert rows(videos, networks, decoders=4) == alone
    assert rows(videos[::-1], networks, decoders=4) == alone


@pytest.mark.slow
def test_rows_of_the_real_networks_are_batch_invariant(
    random_networks: dict[str, Network], tmp_path: Path, make_video: MakeVideo
) -> None:
    networks = list(random_networks.values())
    long = make_video(tmp_path / "long.mp4", seconds=1.3, size="120x120")
    short = make_video(tmp_path / "short.mp4", seconds=0.6, size="120x120", picture="testsrc")
    sources = [VideoSource("long", str(long)), VideoSource("short", str(short))]
    alone = {source.video_id: rows([source], networks)[source.video_id] for source in sources}
    assert rows(sources[::-1], networks, decoders=2) == alone


@pytest.mark.slow
def test_a_broken_video_fails_alone(load_tiny: LoadTiny, videos: list[VideoSource], broken: VideoSource) -> None:
    networks = load_tiny()
    alone = rows(videos, networks)
    missing = VideoSource("missing", str(Path(broken.path).with_name("missing.mp4")))
    results = list(extract([broken, *videos[:2], missing, *videos[2:]], networks, EngineOptions()))
    good = {result.source.video_id: result for result in results if isinstance(result, VideoFeatures)}
    failed = {result.source.video_id: result for result in results if isinstance(result, ExtractionFailure)}
    assert len(results) == 6
    assert {key: {name: array.tobytes() for name, array in each.rows.items()} for key, each in good.items()} == alone
    assert {key: each.reason for key, each in failed.items()} == {"broken": "unreadable", "missing": "missing"}
    assert "replace or remove it" in failed["broken"].message


@pytest.mark.slow
def test_a_video_that_fails_midway_takes_its_rows_along(
    load_tiny: LoadTiny, videos: list[VideoSource], tmp_path: Path, make_video: MakeVideo
) -> None:
    networks = load_tiny(batch_rows=3)
    alone = rows(videos, networks)
    doomed = make_video(tmp_path / "doomed.mp4", seconds=150, rate=5)
    killed: list[int] = []

    def kill(_seconds: float) -> None:
        for process in [] if killed else processes_that_name(str(doomed)):
            os.kill(process, signal.SIGKILL)
            killed.append(process)

    # Chunks so small that most of the video is still to come when its first frames arrive: ffmpeg 4.2 holds back the
    # time stamps of some 40 seconds.
    options = EngineOptions(decoders=1, chunk_bytes=1)
    sources = [VideoSource("doomed", str(doomed)), *videos]
    results = list(extract(sources, networks, options, on_decoded=kill))
    assert killed
    (failure,) = [result for result in results if isinstance(result, ExtractionFailure)]
    assert (failure.source.video_id, failure.reason) == ("doomed", FailureReason.DECODE_ERROR)
    assert "signal 9" in failure.message
    good = {result.source.video_id: result.rows for result in results if isinstance(result, VideoFeatures)}
    assert {key: {name: array.tobytes() for name, array in each.items()} for key, each in good.items()} == alone


@pytest.mark.slow
def test_a_reader_that_stops_early_ends_threads_and_ffmpeg(
    load_tiny: LoadTiny, videos: list[VideoSource], tmp_path: Path, make_video: MakeVideo
) -> None:
    long = make_video(tmp_path / "long.mp4", seconds=30)
    sources = [videos[2], *(VideoSource(f"long {index}", str(long)) for index in range(4))]
    options = EngineOptions(decoders=3, chunk_bytes=1)
    results = extract(sources, load_tiny(batch_rows=1), options)
    next(results)
    assert threading.active_count() > 1
    results.close()
    assert processes_that_name(str(long)) == []


@pytest.mark.slow
def test_seconds_are_told_as_they_are_decoded(load_tiny: LoadTiny, videos: list[VideoSource]) -> None:
    reported: list[float] = []
    results = list(extract(videos, load_tiny(), EngineOptions(), on_decoded=reported.append))
    assert (
        sum(reported) == sum(len(result.rows["tiny2d"]) for result in results if isinstance(result, VideoFeatures)) == 7
    )


@pytest.mark.slow
def test_a_partly_filled_batch_does_not_wait_for_ever(
    load_tiny: LoadTiny, tmp_path: Path, make_video: MakeVideo
) -> None:
    sources = [
        VideoSource(f"{width}", str(make_video(tmp_path / f"{width}.mp4", seconds=0.2, size=f"{width}x64", rate=10)))
        for width in range(64, 64 + 12 * 8, 8)  # no two share a size, so no batch ever fills up
    ]
    reported: list[float] = []
    seen_when_finished: dict[str, int] = {}
    for result in extract(sources, load_tiny(batch_rows=4), EngineOptions(decoders=1), on_decoded=reported.append):
        assert isinstance(result, VideoFeatures)
        seen_when_finished[result.source.video_id] = len(reported)
    assert list(seen_when_finished) == [source.video_id for source in sources], "first come, first served"
    assert seen_when_finished[sources[0].video_id] <= 6
    assert len(reported) == len(sources)


# What follows replaces the decoder: a full disk or a bug cannot be had on demand.
def failing_decoder(at_fault: str, error: Exception) -> Callable[..., Decode]:
    def decode_then_fail(
        source: VideoSource,
        specs: Sequence[ExtractorSpec],
        limits: DecodeLimits,
        stop: threading.Event,
        chunk_bytes: int,
        **others: Any,  # noqa: ANN401 - as `decode`
    ) -> Decode:
        for item in real_decode(source, specs, limits, stop, chunk_bytes, **others):
            yield item
            if source.video_id == at_fault:
                raise error

    return decode_then_fail


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "disk full"), MemoryError("full"), FfmpegNotFoundError("no ffmpeg")], ids=repr
)
def test_a_fault_of_the_machine_is_raised(
    load_tiny: LoadTiny, videos: list[VideoSource], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(decoders, "decode", failing_decoder("b", error))
    with pytest.raises(type(error)) as raised:
        list(extract(videos, load_tiny(), EngineOptions()))
    assert raised.value is error


@pytest.mark.slow
def test_a_fault_of_the_device_is_raised(
    load_tiny: LoadTiny, videos: list[VideoSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_clips: object) -> None:
        raise torch.AcceleratorError("device lost", 1)

    networks = load_tiny()
    monkeypatch.setattr(networks[0], "submit", lost)
    with pytest.raises(torch.AcceleratorError):
        list(extract(videos, networks, EngineOptions(decoders=3)))


@pytest.mark.slow
def test_a_fault_of_the_program_fails_one_video_and_is_called_that(
    load_tiny: LoadTiny, videos: list[VideoSource], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(decoders, "decode", failing_decoder("b", ZeroDivisionError("oops")))
    results = list(extract(videos, load_tiny(), EngineOptions()))
    assert outcomes(iter(results)) == {"a": None, "b": "internal_error", "c": None, "d": None}
    (failure,) = [result for result in results if isinstance(result, ExtractionFailure)]
    assert "ZeroDivisionError: oops" in failure.message
    assert "Traceback" in caplog.text


def test_numbers_that_are_not_finite_are_a_failure(
    load_tiny: LoadTiny, videos: list[VideoSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = load_tiny()
    nothing = np.full((1, TINY_3D.feature_dim), np.nan, np.float16)
    monkeypatch.setattr(networks[1], "submit", lambda clips: ComputedRows(nothing.repeat(len(clips), axis=0)))
    (failure,) = extract(videos[:1], networks, EngineOptions())
    assert isinstance(failure, ExtractionFailure)
    assert failure.reason is FailureReason.INTERNAL_ERROR
    assert "tiny3d produced values that are not finite" in failure.message


@pytest.mark.parametrize(
    ("error", "machine"),
    [
        (OSError(errno.ENOSPC, ""), True),
        (OSError(errno.EMFILE, ""), True),
        (OSError(errno.ENOMEM, ""), True),
        (PermissionError(errno.EACCES, ""), True),
        (OSError(errno.EIO, ""), False),
        (FileNotFoundError(errno.ENOENT, ""), False),
        (MemoryError(), True),
        (FfmpegNotFoundError(), True),
        (ValueError(), False),
        (DecodeError("x", FailureReason.TIMEOUT, "", ""), False),
        (DeviceError(), False),
    ],
    ids=repr,
)
def test_faults_of_the_machine_are_told_from_those_of_a_video(error: Exception, *, machine: bool) -> None:
    assert affects_all_videos(error) is machine


def test_no_videos_make_no_results_and_no_networks_are_refused(load_tiny: LoadTiny, videos: list[VideoSource]) -> None:
    assert list(extract([], load_tiny(), EngineOptions())) == []
    with pytest.raises(ValueError, match="at least one network"):
        list(extract(videos, [], EngineOptions()))
    with pytest.raises(ValueError, match="decoders"):
        EngineOptions(decoders=0)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_run_that_ends_early_leaves_its_networks_ready_for_the_next(
    load_tiny: LoadTiny, videos: list[VideoSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else the engine waits for all rows whenever the decoders are slower than it.
    monkeypatch.setattr(decoders.Decoders, "have_nothing_ready", False)
    networks = load_tiny(batch_rows=1)
    expected = rows(videos, networks)
    for _ in range(4):  # more than may be in flight
        results = extract(videos, networks, EngineOptions())
        next(results)
        assert isinstance(results, Generator)
        results.close()
    assert rows(videos, networks) == expected


@pytest.mark.slow
def test_a_finished_video_does_not_wait_for_a_slow_one(
    load_tiny: LoadTiny, videos: list[VideoSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = load_tiny(batch_rows=1)
    long, short = videos[0], videos[2]
    received = threading.Event()
    waited_in_vain = []

    def slow_decode(source: VideoSource, *arguments: Any, **options: Any) -> Decode:  # noqa: ANN401 - of `decode`
        if source.video_id == long.video_id and not received.wait(20):
            waited_in_vain.append(source.video_id)
        yield from real_decode(source, *arguments, **options)

    submit = networks[0].submit

    def submit_late(clips: Any) -> PendingRows:  # noqa: ANN401 - of `submit`
        """Submit once the decoder of the short video has ended, and has said so."""
        if not received.is_set():
            wait_until(lambda: sum(each.name.startswith("decoder-") for each in threading.enumerate()) == 1, 20)
        return submit(clips)

    monkeypatch.setattr(decoders, "decode", slow_decode)
    monkeypatch.setattr(networks[0], "submit", submit_late)
    results = extract([short, long], networks, EngineOptions(decoders=2))
    first = next(results)
    received.set()
    assert first.source == short
    assert [each.source for each in results] == [long]
    assert waited_in_vain == []


def test_a_gpu_has_a_decoder_per_core_and_a_cpu_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "usable_cores", lambda: 16)
    monkeypatch.setattr(engine, "usable_devices", lambda _: ("cuda:0", "cuda:1"))
    assert engine.default_decoders(["cpu", "cpu"]) == 2
    assert engine.default_decoders(["cuda:1", "cuda:1"]) == 8
    monkeypatch.setattr(engine, "usable_cores", lambda: 1)
    assert engine.default_decoders(["cuda:0"]) == 2
