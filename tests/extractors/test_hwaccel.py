"""Which videos a GPU's hardware decoder decodes, and what happens when it fails. No test here needs a GPU."""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reeldex.errors import DeviceError
from reeldex.extractors import decode as decoding
from reeldex.extractors import hwaccel
from reeldex.extractors.decoding_process import DecodingTask, decode_arguments
from reeldex.extractors.engine import extract
from reeldex.extractors.errors import DecodeError, FailureReason
from reeldex.extractors.frames import VideoFeatures, VideoMetadata, VideoSource
from reeldex.extractors.hwaccel import Claim, HardwareDecoders, hardware_decoders, refusal
from reeldex.extractors.notes import NoteKind
from reeldex.extractors.options import DecodeOptions, EngineOptions, Hwaccel
from reeldex.extractors.resnet152 import SPEC
from reeldex.extractors.samples import SAMPLES, make_samples
from reeldex.extractors.sampling import Pipes
from tests.extractors.conftest import LoadTiny

LARGE = VideoMetadata("mov", "h264", 1920, 1080, 0, 30, 60, "yuv420p")
SMALL = replace(LARGE, width=640, height=360)


@pytest.mark.parametrize(
    ("changed", "because"),
    [
        ({}, None),
        ({"pixel_format": "yuvj420p"}, None),
        ({"codec": "hevc", "pixel_format": "yuv420p10le"}, None),
        ({"codec": "mpeg2video"}, "not used for mpeg2video"),
        ({"pixel_format": "yuv420p10le"}, "h264 with pixels as yuv420p10le"),
        ({"pixel_format": "yuv444p"}, "h264 with pixels as yuv444p"),
        ({"pixel_format": None}, "h264 with pixels as None"),
        ({"width": 4098}, "4098 x 1080 pixels"),
        ({"width": 1279}, "1279 x 1080 pixels"),
        ({"codec": "av1"}, "not used for av1"),
        ({"height": 128}, "1920 x 128 pixels"),
    ],
)
def test_only_formats_that_were_compared_are_decoded_by_hardware(changed: dict[str, Any], because: str | None) -> None:
    reason = refusal(replace(LARGE, **changed))
    assert (reason is None) if because is None else (reason is not None and because in reason)


def test_auto_leaves_small_videos_and_waiting_ones_to_the_cpu() -> None:
    decoders = HardwareDecoders(Hwaccel.AUTO, 1, sessions=1)
    with decoders.claim(SMALL) as small, decoders.claim(LARGE) as first, decoders.claim(LARGE) as second:
        assert (small, first, second) == (Claim(), Claim(1), Claim())
    with decoders.claim(LARGE) as again:
        assert again == Claim(1)
    with decoders.claim(replace(LARGE, codec="vc1")) as refused:
        assert refused == Claim(), "nobody asked for hardware"


def test_cuda_waits_for_its_turn_and_says_what_it_refuses() -> None:
    decoders = HardwareDecoders(Hwaccel.CUDA, 0, sessions=1)
    claims: list[Claim] = []

    def next_one() -> None:
        with decoders.claim(SMALL) as claim:
            claims.append(claim)

    with decoders.claim(LARGE) as first:
        waiting = threading.Thread(target=next_one)
        waiting.start()
        waiting.join(timeout=0.5)
        assert waiting.is_alive()
        assert (first, claims) == (Claim(0), [])
    waiting.join(timeout=20)
    assert claims == [Claim(0)]
    with decoders.claim(replace(LARGE, codec="vc1")) as refused:
        assert refused.device is None
        assert "vc1" in refused.software_reason


def test_who_waits_is_stopped() -> None:
    decoders, stop = HardwareDecoders(Hwaccel.CUDA, 0, sessions=1), threading.Event()
    stop.set()
    with decoders.claim(LARGE), decoders.claim(LARGE, stop) as claim:
        assert claim == Claim()


def test_without_a_cuda_device_cuda_is_an_error_and_auto_is_software(caplog: pytest.LogCaptureFixture) -> None:
    assert hardware_decoders(Hwaccel.NONE, "cuda:0") is None
    assert hardware_decoders(Hwaccel.AUTO, None) is None
    with pytest.raises(DeviceError, match=r"networks do not run on a CUDA device\. Use auto or none"):
        hardware_decoders(Hwaccel.CUDA, None)
    number = 9999  # which no machine has
    with pytest.raises(DeviceError, match=r"hwaccel cuda cannot be used: .*(ffmpeg.* says: |libnvcuvid)"):
        hardware_decoders(Hwaccel.CUDA, f"cuda:{number}")
    with caplog.at_level("INFO"):
        assert hardware_decoders(Hwaccel.AUTO, f"cuda:{number}") is None
    assert "decoded in software" in caplog.text


def test_ffmpeg_is_told_the_device_before_its_input() -> None:
    pipes = Pipes.of([3, 4, 5])
    arguments = decode_arguments("a.mp4", LARGE, [SPEC], pipes, max_frame_pixels=1 << 22, threads=1, hardware=2)
    before_input = arguments[: arguments.index("-i")]
    assert before_input[before_input.index("-hwaccel") + 1] == "cuda"
    assert before_input[before_input.index("-hwaccel_device") + 1] == "2"
    software = decode_arguments("a.mp4", LARGE, [SPEC], pipes, max_frame_pixels=1 << 22)
    assert "-hwaccel" not in software


def test_features_of_the_hardware_decoder_are_a_space_of_their_own() -> None:
    assert DecodeOptions().definition() == {}
    assert DecodeOptions(hwaccel=Hwaccel.CUDA).definition() == {"hwaccel": "nvdec"}
    assert DecodeOptions(hwaccel=Hwaccel.AUTO).definition() == {"hwaccel": "nvdec"}


class _Everything(HardwareDecoders):
    """Claims every video for a device that this machine may not have."""

    def __init__(self) -> None:
        super().__init__(Hwaccel.CUDA, 0)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> VideoSource:
    folder = tmp_path_factory.mktemp("samples")
    make_samples(folder)
    return VideoSource("a", str(folder / next(name for name in SAMPLES if name.startswith("counter"))))


def rows(networks: Any, sources: list[VideoSource]) -> dict[str, VideoFeatures]:  # noqa: ANN401 - as in `extract`
    # One clip of frames per chunk, so that a short video has several.
    results = extract(sources, networks, EngineOptions(chunk_bytes=1))
    return {each.source.video_id: each for each in results if isinstance(each, VideoFeatures)}


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["at once", "after some frames", "at the end"])
def test_a_video_on_which_hardware_fails_is_decoded_in_software(
    load_tiny: LoadTiny, video: VideoSource, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The failing decoder stands in for a GPU's: it yields wrong frames, some of which are already being computed."""
    monkeypatch.setattr(hwaccel, "_LEAST_SIDE", 16)
    networks = load_tiny(batch_rows=1)
    others = [replace(video, video_id=name) for name in "bc"]
    expected = rows(networks, [video, *others])
    decode_once = decoding._decode_once

    def failing(task: DecodingTask, *, traced: bool) -> Generator[Any, None, Any]:
        if task.hardware is None:
            return (yield from decode_once(task, traced=traced))
        if moment == "at once":
            raise decoding.undecodable(task.path, "no device")
        for count, item in enumerate(iterator := decode_once(replace(task, hardware=None), traced=traced)):
            yield replace(item, frames=np.full_like(item.frames, 200))
            if count == 3 and moment == "after some frames":
                iterator.close()
                raise DecodeError(task.path, FailureReason.TOO_LARGE, "the device's memory is full", "")
        assert moment == "at the end"
        raise decoding.undecodable(task.path, "an error at the end")

    monkeypatch.setattr(decoding, "_decode_once", failing)
    monkeypatch.setattr("reeldex.extractors.engine.hardware_decoders", lambda *_: _Everything())
    found = rows(networks, [video, *others])
    assert found.keys() == expected.keys() == {"a", "b", "c"}
    for name, features in found.items():
        assert features.summary.notes[NoteKind.SOFTWARE_DECODING].startswith("The CPU decoded the video: the hardware")
        for space, values in features.rows.items():
            assert (values == expected[name].rows[space]).all()
