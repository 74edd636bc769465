"""Pure functions, as tables: no video needed."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from reeldex.extractors import resnet152, resnext101
from reeldex.extractors.batching import Batch, Batcher, RowBuffer
from reeldex.extractors.clips import chunk_frames, clip_count, to_clips
from reeldex.extractors.decoding_process import decode_arguments
from reeldex.extractors.description import parse_description
from reeldex.extractors.errors import FailureReason, ProbeError, UnknownExtractorError
from reeldex.extractors.frames import VideoMetadata
from reeldex.extractors.registry import extractor, extractor_of_space
from reeldex.extractors.runtimes.network import least_cosine
from reeldex.extractors.sampling import Pipes
from reeldex.extractors.truncation import is_truncated
from reeldex.storage.schema import REASONS


@pytest.mark.parametrize(
    ("height", "width", "scaled"),
    [
        (240, 320, (224, 298)),
        (320, 240, (298, 224)),
        (241, 321, (224, 298)),
        (240, 426, (224, 397)),
        (224, 224, (224, 224)),
        (50, 50, (224, 224)),
        (1, 1000, (224, 224000)),
    ],
)
def test_the_shorter_side_is_scaled_and_the_longer_rounded_down(
    height: int, width: int, scaled: tuple[int, int]
) -> None:
    assert resnet152.SPEC.scaled_size(height, width) == scaled
    assert resnet152.SPEC.input_size(height, width) == scaled
    assert resnext101.SPEC.input_size(height, width) == (112, 112)


def test_rates_are_one_and_one_and_a_half_rows_a_second() -> None:
    assert resnet152.SPEC.seconds_per_row == 1.0
    assert 1 / resnext101.SPEC.seconds_per_row == 1.5


@pytest.mark.parametrize("field", ["frames_per_second", "frames_per_clip", "short_side_pixels", "feature_dim"])
def test_a_spec_refuses_what_cannot_be(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(resnet152.SPEC, **{field: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize(("frames", "clips"), [(1, 1), (15, 1), (16, 1), (17, 2), (40, 3)])
def test_a_last_incomplete_clip_is_filled_up_with_black(frames: int, clips: int) -> None:
    made = np.random.default_rng(0).integers(1, 256, (frames, 4, 5, 3), np.uint8)
    found = to_clips(made, 16)
    assert found.shape == (clips, 16, 4, 5, 3) == (clip_count(frames, 16), 16, 4, 5, 3)
    flat = found.reshape(-1, 4, 5, 3)
    assert (flat[:frames] == made).all()
    assert (flat[frames:] == 0).all()


@pytest.mark.parametrize(
    ("per_clip", "size", "limit", "frames"), [(1, 100, 1000, 10), (16, 100, 1, 16), (16, 1, 40, 32)]
)
def test_a_chunk_is_whole_clips_within_the_limit(per_clip: int, size: int, limit: int, frames: int) -> None:
    assert chunk_frames(per_clip, size, limit) == frames


@pytest.mark.parametrize(
    ("decoded", "stated", "truncated"),
    [
        (10, {"duration_seconds": 10.4}, False),
        (10, {"duration_seconds": None}, False),
        (9, {"duration_seconds": 10.01}, True),
        (3600, {"duration_seconds": 3660.0}, False),
        (3500, {"duration_seconds": 3660.0}, True),
        (0.04, {"duration_seconds": 0.9}, False),
        # Counted from 0, or from the first timestamp.
        (6, {"duration_seconds": 106.0, "start_seconds": 100.0}, False),
        (3, {"duration_seconds": 106.0, "start_seconds": 100.0}, True),
        (6, {"duration_seconds": 6.0, "start_seconds": 100.0}, False),
        (3, {"duration_seconds": 6.0, "start_seconds": 100.0}, True),
        # Sound that is longer than the picture, whose own end is known.
        (6, {"duration_seconds": 12.0, "stream_end_seconds": 6.0}, False),
        (4, {"duration_seconds": 12.0, "stream_end_seconds": 6.0}, True),
        (9, {"duration_seconds": 12.0, "stream_end_seconds": 6.0}, True),
        (6, {"duration_seconds": 106.0, "has_own_duration": False}, False),
    ],
)
def test_truncation_is_more_than_rounding(decoded: float, stated: dict[str, Any], *, truncated: bool) -> None:
    metadata = VideoMetadata("matroska,webm", "h264", 8, 8, 0.0, None, **stated)
    assert is_truncated("unused", metadata, decoded, error_count=0) is truncated


def test_ffmpeg_is_kept_to_the_local_file_and_decodes_it_once() -> None:
    arguments = decode_arguments(
        "/v/-a:b%d.mp4",
        VideoMetadata("mov", "h264", 8, 8, 0.0, None, 1.0, stream=2),
        [resnet152.SPEC, resnext101.SPEC],
        Pipes.of([7, 8, 9, 10, 11]),
        max_frame_pixels=1000,
    )
    first_input = arguments.index("-i")
    before = arguments[:first_input]
    assert before[before.index("-protocol_whitelist") + 1] == "file"
    assert "mov" in before[before.index("-format_whitelist") + 1]
    assert "hls" not in before[before.index("-format_whitelist") + 1].split(",")
    assert "concat" not in before[before.index("-format_whitelist") + 1].split(",")
    assert int(before[before.index("-max_pixels") + 1]) >= 1000
    assert arguments.count("-i") == 1
    assert arguments[first_input + 1] == "file:/v/-a:b%d.mp4"
    assert [part for part in arguments if part.startswith("pipe:")] == ["pipe:7", "pipe:9"]
    assert "[0:2]" in arguments[arguments.index("-filter_complex") + 1]


DESCRIPTION = """Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'INPUT':
  Metadata:
    comment         : Stream #0:7: Video: fake, 9x9
                    :   Stream #0:8: Video: fake, 8x8
  Duration: 01:02:03.50, start: 0.000000, bitrate: 217 kb/s
  Stream #0:0[0x1](eng): Audio: aac (LC), 8000 Hz, stereo, fltp, 72 kb/s (default)
  Stream #0:1: Video: mjpeg (Baseline), yuvj420p(pc), 600x600, 90k tbr, 90k tbn (attached pic)
  Stream #0:2[0x2](eng): Video: h264 (High) (avc1 / 0x31637661), yuv420p(tv), 480x270 [SAR 1:1 DAR 16:9], 29.97 fps
      Metadata:
        handler_name    : VideoHandler
      Side data:
        Display Matrix: rotation of -90.00 degrees
"""


def test_a_description_is_read_as_ffmpeg_prints_it() -> None:
    metadata = parse_description("x", DESCRIPTION)
    assert (metadata.codec, metadata.width, metadata.height) == ("h264", 480, 270)
    assert metadata.display_size == (480, 270), "(height, width) after a quarter turn"
    assert metadata.duration_seconds == 3723.5
    assert metadata.frames_per_second == 29.97
    without = parse_description("x", DESCRIPTION.replace("01:02:03.50", "N/A").replace("rotation of -90.00", ""))
    assert without.duration_seconds is None
    assert without.display_size == (270, 480)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\n".join(DESCRIPTION.splitlines()[:7]), FailureReason.NO_VIDEO_STREAM),
        (DESCRIPTION.replace("480x270", "0x0"), FailureReason.NO_VIDEO_STREAM),
        ("[in#0 @ 0x55] Error opening input: Invalid data\n", FailureReason.UNREADABLE),
        ("", FailureReason.UNREADABLE),
        ("[h264 @ 0x5] Picture size 9x8 exceeds specified max pixel count 7, see\n", FailureReason.TOO_LARGE),
    ],
)
def test_a_description_without_a_picture_is_a_failure(text: str, reason: FailureReason) -> None:
    with pytest.raises(ProbeError) as raised:
        parse_description("x", text)
    assert raised.value.reason is reason


def test_every_failure_has_its_place_in_the_store() -> None:
    assert {str(reason) for reason in FailureReason} | {"truncated", "duplicate_id"} == set(REASONS)


def clips(*values: int) -> np.ndarray[Any, Any]:
    return np.stack([np.full((1, 2, 2, 3), value, np.uint8) for value in values])


def test_batches_are_full_and_every_row_knows_its_owner() -> None:
    batcher = Batcher()
    assert list(batcher.add("net", clips(1, 2), video=0, first_row=0, batch_rows=3)) == []
    (full,) = batcher.add("net", clips(3, 4), video=1, first_row=5, batch_rows=3)
    assert full.owners == ((0, 0), (0, 1), (1, 5))
    assert full.clips[:, 0, 0, 0, 0].tolist() == [1, 2, 3]
    (rest,) = batcher.flush({"net": 3})
    assert rest.owners == ((1, 6),)
    assert rest.clips[:, 0, 0, 0, 0].tolist() == [4, 0, 0], "filled up with black, to the full size"
    assert list(batcher.flush({"net": 3})) == []


def test_clips_of_another_shape_or_extractor_wait_apart_and_a_failed_video_is_forgotten() -> None:
    batcher = Batcher()
    other = np.zeros((1, 1, 4, 2, 3), np.uint8)
    added: list[Batch] = []
    added += batcher.add("a", clips(1), video=0, first_row=0, batch_rows=2)
    added += batcher.add("a", other, video=1, first_row=0, batch_rows=2)
    added += batcher.add("b", clips(2), video=2, first_row=0, batch_rows=2)
    assert added == []
    (of_one,) = batcher.flush({"a": 2, "b": 2}, video=1)
    assert of_one.owners == ((1, 0),)
    batcher.discard(0)
    (left,) = batcher.flush({"a": 2, "b": 2})
    assert left.owners == ((2, 0),)


def test_rows_come_back_in_any_order() -> None:
    buffer = RowBuffer(3)
    order = np.random.default_rng(1).permutation(1000)
    for row in order:
        buffer.put(int(row), np.full(3, row, np.float16))
    assert (buffer.take(1000)[:, 0] == np.arange(1000, dtype=np.float16)).all()


def test_the_least_cosine_is_that_of_the_worst_row() -> None:
    first = np.array([[1, 0], [1, 1]], np.float16)
    assert least_cosine(first, np.array([[2, 0], [0, 1]], np.float16)) == pytest.approx(0.5**0.5)


def test_an_unknown_extractor_or_space_is_named_with_what_there_is() -> None:
    with pytest.raises(UnknownExtractorError, match="Did you mean 'resnet152'"):
        extractor("resnet_152")
    with pytest.raises(UnknownExtractorError, match="'kinetics400' and 'random'"):
        extractor_of_space("resnext101_3d.mine")
