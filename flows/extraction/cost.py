"""Estimated cost of an extraction, for `--dry-run`: measured on one batch and one video, then extrapolated."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reeldex.devices import usable_devices
from reeldex.errors import UsageError
from reeldex.extractors.clips import clip_count
from reeldex.extractors.decode import decode
from reeldex.extractors.errors import ExtractionError
from reeldex.extractors.frames import FrameBatch, VideoMetadata, VideoSource
from reeldex.extractors.options import DecodeLimits, DecodeOptions, WeightsChoice
from reeldex.extractors.pictures import require_size
from reeldex.extractors.probe import probe
from reeldex.extractors.registry import EXTRACTORS
from reeldex.flows.extraction.networks import extractor_record, load_networks, requested_spaces
from reeldex.quantities import counted, data_size, duration
from reeldex.storage.json_codec import to_json

if TYPE_CHECKING:
    from reeldex.extractors.network import Network
    from reeldex.extractors.spec import ExtractorSpec
    from reeldex.flows.extraction.prepare import PreparedRun
    from reeldex.storage.schema import VideoEntry

_SAMPLE_SECONDS = 3.0  # spent on measuring the decoding speed
_PROBES_AT_A_TIME = 8
_BYTES_PER_NUMBER = 2  # float16


@dataclass(frozen=True)
class Cost:
    """What an extraction would take.

    - `videos` can be opened, `broken` cannot, or their pictures exceed the limits;
      `unknown_duration` counts videos without a duration, which count as 0 s.
    - `decode_seconds`: wall-clock time of decoding alone, `device_seconds` of the networks alone; they overlap, so
      a run takes slightly longer than the larger of the two.
    - `bytes_out`: size of the features on disk.
    """

    videos: int
    broken: int
    unknown_duration: int
    seconds_of_video: float
    decode_seconds: float
    device_seconds: float
    rows: Mapping[str, int]
    bytes_out: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        found: dict[str, Any] = to_json(self)
        return found

    def __str__(self) -> str:
        rows = ", ".join(f"{count:,} rows of {name}" for name, count in self.rows.items())
        return (
            f"{counted(self.videos, 'video')}, {self.broken:,} that cannot be opened, "
            f"{self.unknown_duration:,} of unknown duration\n"
            f"{duration(self.seconds_of_video)} of video: {rows}\n"
            f"decoding  about {duration(self.decode_seconds)}\n"
            f"networks  about {duration(self.device_seconds)} (both run at the same time)\n"
            f"on disk   about {data_size(self.bytes_out)}"
        )


def estimate(prepared: PreparedRun) -> Cost:
    """Measure decoding and the networks briefly, and extrapolate. Extracts nothing.

    The networks run with random weights, which are as fast as others. Raises UsageError if no video can be extracted.
    """
    config, videos = prepared.config, prepared.videos or []
    limits = config.compute.limits
    specs = [extractor_record(space)[0].spec for space in requested_spaces(config)]
    with ThreadPoolExecutor(_PROBES_AT_A_TIME) as pool:
        probed = list(pool.map(lambda video: _probe(video.path, specs, limits, config.decode), videos))
    sound = [(video, metadata) for video, metadata in zip(videos, probed, strict=True) if metadata is not None]
    if not sound:
        raise UsageError(
            f"None of the {len(videos)} videos of the source can be extracted. Extract to see the reasons."
        )
    trial = config.model_copy(update={"extract": config.extract.model_copy(update={"weights": WeightsChoice.RANDOM})})
    devices = usable_devices(config.compute.device)
    compute = trial.compute.model_copy(update={"device": devices[0]})
    networks = load_networks(requested_spaces(trial), trial.model_copy(update={"compute": compute}))
    rows = dict.fromkeys((network.spec.name for network in networks), 0)
    device_seconds = 0.0
    first = sound[0][1]
    shape = first.square_pixel_size if config.decode.square_pixels else first.display_size
    for network in networks:
        spec = network.spec
        for video, metadata in sound:
            frames = max(1, round(_seconds(video, metadata) * spec.frames_per_second))
            rows[spec.name] += clip_count(frames, spec.frames_per_clip)
        device_seconds += rows[spec.name] * _seconds_per_row(network, shape) / len(devices)
    seconds_of_video = sum(_seconds(video, metadata) for video, metadata in sound)
    # All clips of a file are decoded at once, with the whole file.
    decoded = {
        video.path if video.span else number: metadata.duration_seconds or 0.0
        for number, (video, metadata) in enumerate(sound)
    }
    longest = max(sound, key=lambda pair: pair[1].duration_seconds or 0.0)[0]
    source_to_time = VideoSource(longest.video_id, longest.path)
    return Cost(
        videos=len(sound),
        broken=len(videos) - len(sound),
        unknown_duration=sum(metadata.duration_seconds is None for _, metadata in sound),
        seconds_of_video=seconds_of_video,
        decode_seconds=sum(decoded.values())
        * _decode_seconds_per_second(source_to_time, networks, limits, config.decode),
        device_seconds=device_seconds,
        rows=rows,
        bytes_out=sum(count * EXTRACTORS[name].spec.feature_dim * _BYTES_PER_NUMBER for name, count in rows.items()),
    )


def _seconds(video: VideoEntry, metadata: VideoMetadata) -> float:
    whole = metadata.duration_seconds or 0.0
    if video.span is None:
        return whole
    end = whole if video.span.end_seconds is None else min(whole, video.span.end_seconds)
    return max(0.0, end - video.span.start_seconds)


def _probe(
    path: str, specs: list[ExtractorSpec], limits: DecodeLimits, decode_options: DecodeOptions
) -> VideoMetadata | None:
    try:
        metadata = probe(path, limits=limits, options=decode_options)
        for spec in specs:
            require_size(path, spec, metadata, limits, square_pixels=decode_options.square_pixels)
    except ExtractionError:
        return None  # counted as broken; the extraction reports the reason
    return metadata


def _seconds_per_row(network: Network, shape: tuple[int, int]) -> float:
    height, width = network.spec.input_size(*shape)
    clips = np.zeros((network.batch_rows, network.spec.frames_per_clip, height, width, 3), np.uint8)
    together = max(1, network.batches_in_flight)

    def compute() -> None:
        for pending in [network.submit(clips) for _ in range(together)]:
            pending.wait()

    compute()  # the first run also sets up
    started = time.perf_counter()
    compute()
    return (time.perf_counter() - started) / (together * len(clips))


def _decode_seconds_per_second(
    source: VideoSource, networks: list[Network], limits: DecodeLimits, decode_options: DecodeOptions
) -> float:
    """Return the wall-clock seconds per second of video, with one decoder."""
    finest = max((network.spec for network in networks), key=lambda spec: spec.frames_per_second)
    started, frames = time.perf_counter(), 0
    items = decode(source, [network.spec for network in networks], limits, options=decode_options)
    # A video that cannot be decoded to its end is measured up to that point.
    with contextlib.suppress(ExtractionError):
        for item in items:
            if isinstance(item, FrameBatch) and item.extractor == finest.name:
                frames += len(item.frames)
            if time.perf_counter() - started > _SAMPLE_SECONDS:
                break
    items.close()
    return (time.perf_counter() - started) * finest.frames_per_second / max(1, frames)
