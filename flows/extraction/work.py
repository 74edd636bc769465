"""The work of an extraction on this machine: decoding and networks, measured briefly and extrapolated."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reeldex.devices import card, usable_cores, usable_devices
from reeldex.extractors.clips import clip_count
from reeldex.extractors.options import WeightsChoice
from reeldex.flows.extraction.calibration import Calibration
from reeldex.flows.extraction.measuring import (
    DecodeRate,
    WorkerStart,
    decode_rate,
    seconds_per_row,
    worker_start_seconds,
)
from reeldex.flows.extraction.networks import load_networks, requested_spaces
from reeldex.flows.extraction.opened_videos import OpenedVideo
from reeldex.flows.extraction.video_lengths import frames_of

if TYPE_CHECKING:
    from reeldex.extractors.network import Network
    from reeldex.extractors.spec import ExtractorSpec
    from reeldex.flows.config.pipeline import PipelineConfig

_MOST_KINDS = 5  # of videos whose decoding is measured
_MOST_SHAPES = 3  # of frames for which a network is measured

USUAL_SHAPE = (360, 640)
"""The (height, width) of videos that cannot be opened here."""


@dataclass(frozen=True)
class Work:
    """The work of all videos on one machine: decoding alone, the networks alone, and both, in seconds."""

    decode_seconds: float
    device_seconds: float
    seconds: float


def measured_work(
    known: Calibration,
    videos: Sequence[OpenedVideo],
    seconds_of_video: float,
    specs: Sequence[ExtractorSpec],
    config: PipelineConfig,
) -> tuple[Calibration, Work]:
    """Measure decoding and the networks with the videos that were opened, and extrapolate to all seconds of video.

    Return the work, and the calibration with what was measured of this machine.
    """
    shown = [_Shown(video.shape, video.seconds) for video in videos]
    shown = shown or [_Shown(USUAL_SHAPE, 1.0)] * bool(seconds_of_video)
    scale = seconds_of_video / (sum(each.seconds for each in shown) or 1.0)
    known, device_seconds, devices = _network_seconds(known, shown, config)
    decode_wall, decode_cpu = _decode_seconds(videos, specs, config)
    seconds = _work_seconds(device_seconds * scale, decode_cpu * scale, devices)
    return known, Work(decode_wall * scale, device_seconds * scale, seconds)


@dataclass(frozen=True)
class _Shown:
    """The (height, width) and the length of a video, as the networks see it."""

    shape: tuple[int, int]
    seconds: float


def _network_seconds(
    known: Calibration, videos: Sequence[_Shown], config: PipelineConfig
) -> tuple[Calibration, float, tuple[str, ...]]:
    """Return the wall-clock time of the networks alone on all devices, and the devices."""
    devices = usable_devices(config.compute.device)
    trial = config.model_copy(
        update={
            "extract": config.extract.model_copy(update={"weights": WeightsChoice.RANDOM}),
            "compute": config.compute.model_copy(update={"device": devices[0]}),
        }
    )
    # The first time, weights are made and networks converted, which a run then finds in the caches.
    networks = load_networks(requested_spaces(trial), trial)
    if known.start_seconds is None:
        start = WorkerStart(requested_spaces(trial), trial)
        known = replace(known, start_seconds=worker_start_seconds(start, devices[0]))
    total = 0.0
    for network in networks:
        counts: Counter[tuple[int, int]] = Counter()
        for video in videos:
            counts[network.spec.input_size(*video.shape)] += clip_count(
                int(frames_of(video.seconds, network.spec)), network.spec.frames_per_clip
            )
        rates: dict[tuple[int, int], float] = {}
        for (height, width), _ in counts.most_common(_MOST_SHAPES):
            key = _network_key(network, height, width)
            if key not in known.seconds_per_row:
                known = known.with_rate(key, seconds_per_row(network, height, width))
            rates[height, width] = known.seconds_per_row[key]
        for shape, count in counts.items():
            nearest = min(rates, key=lambda each: abs(each[0] * each[1] - shape[0] * shape[1]))
            total += count * rates[nearest] * (shape[0] * shape[1]) / (nearest[0] * nearest[1])
    return known, total / len(devices), devices


def _network_key(network: Network, height: int, width: int) -> str:
    about = (network.spec.name, network.runtime, card(network.device), network.precision, network.batch_rows)
    return " ".join(map(str, (*about, f"{height}x{width}")))


def _decode_seconds(
    videos: Sequence[OpenedVideo], specs: Sequence[ExtractorSpec], config: PipelineConfig
) -> tuple[float, float]:
    """Return the wall-clock and CPU time of decoding all files alone."""
    # All clips of a file are decoded at once, with the whole file.
    files = {video.entry.path if video.entry.span else number: video for number, video in enumerate(videos)}
    kinds: dict[tuple[object, ...], list[OpenedVideo]] = defaultdict(list)
    for video in files.values():
        kinds[video.kind].append(video)
    weights = {
        kind: sum((each.metadata.duration_seconds or 0.0) * each.pixels_per_second for each in found)
        for kind, found in kinds.items()
    }
    measured: dict[tuple[object, ...], tuple[float, DecodeRate]] = {}
    for kind in sorted(kinds, key=lambda each: -weights[each])[:_MOST_KINDS]:
        ordered = sorted(kinds[kind], key=lambda each: each.metadata.duration_seconds or 0.0)
        middle = ordered[len(ordered) // 2]
        rate = decode_rate(middle.entry.path, specs, config.compute.limits, config.decode)
        if rate is not None:
            measured[kind] = (middle.pixels_per_second, rate)
    wall = cpu = 0.0
    for kind, found in kinds.items() if measured else ():
        for video in found:
            pixels, rate = measured.get(kind) or min(
                measured.values(), key=lambda each: abs(each[0] - video.pixels_per_second)
            )
            seconds = (video.metadata.duration_seconds or 0.0) * video.pixels_per_second / pixels
            wall += seconds * rate.wall_seconds
            cpu += seconds * rate.cpu_seconds
    return wall, cpu


def _work_seconds(device_seconds: float, decode_cpu: float, devices: Sequence[str]) -> float:
    """Return the wall-clock time of a run after its start, before its correction."""
    decoding = decode_cpu / usable_cores()
    # On a CPU, networks and decoding share the cores; a device works while the cores decode.
    return decoding + device_seconds if devices == ("cpu",) else max(decoding, device_seconds)
