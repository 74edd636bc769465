"""Estimated cost of an extraction, for `--dry-run`.

Decoding is measured on videos of the source, of each kind the one in the middle; networks on frames of its sizes, once
per machine (`calibration.py`). On a CPU both share the cores, so that their times add up.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from reeldex.devices import card, usable_cores, usable_devices
from reeldex.errors import UsageError
from reeldex.extractors.clips import clip_count
from reeldex.extractors.options import WeightsChoice
from reeldex.extractors.registry import EXTRACTORS
from reeldex.flows.extraction.calibration import Calibration, Estimated, load_calibration, save_calibration
from reeldex.flows.extraction.hardware import THIS_MACHINE, Hardware
from reeldex.flows.extraction.measuring import (
    DecodeRate,
    WorkerStart,
    decode_rate,
    seconds_per_row,
    worker_start_seconds,
)
from reeldex.flows.extraction.networks import extractor_record, load_networks, requested_spaces
from reeldex.flows.extraction.opened_videos import OpenedVideo, open_videos
from reeldex.flows.extraction.video_lengths import Lengths, frames_of, sample_of
from reeldex.quantities import counted, data_size, duration
from reeldex.remote_files import is_url
from reeldex.storage.json_codec import to_json

if TYPE_CHECKING:
    from reeldex.extractors.network import Network
    from reeldex.extractors.spec import ExtractorSpec
    from reeldex.flows.config.pipeline import PipelineConfig
    from reeldex.flows.extraction.prepare import PreparedRun
    from reeldex.storage.schema import VideoEntry

_MOST_KINDS = 5  # of videos whose decoding is measured
_MOST_SHAPES = 3  # of frames for which a network is measured
_BYTES_PER_NUMBER = 2  # float16
_USUAL_SHAPE = (360, 640)  # of videos that cannot be opened here


@dataclass(frozen=True)
class Cost:
    """What an extraction would take.

    - `videos` are to be extracted, those that have their features already are not; `broken` cannot be opened, or their
      pictures exceed the limits; `unknown_duration` counts videos without a duration, which count as 0 s.
    - `decode_seconds`: wall-clock time of decoding alone, one video after the other, `device_seconds` of the networks
      alone; `total_seconds` of the whole run, start included.
    - `bytes_out`: size of the features on disk.
    - `shards` have videos to extract. `opened` of the videos were looked at, `stated` have the length that a list
      states; the other figures are extrapolated, as `assumptions` say. `machines` share the work.
    """

    videos: int
    broken: int
    unknown_duration: int
    seconds_of_video: float
    decode_seconds: float
    device_seconds: float
    total_seconds: float
    rows: Mapping[str, int]
    bytes_out: int
    shards: int
    opened: int
    stated: int
    machines: int = 1
    assumptions: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        found: dict[str, Any] = to_json(self)
        return found

    def __str__(self) -> str:
        rows = ", ".join(f"{count:,} rows of {name}" for name, count in self.rows.items())
        machines = f" on {self.machines:,} machines" if self.machines > 1 else ""
        text = (
            f"{counted(self.videos, 'video')} in {counted(self.shards, 'shard')}, "
            f"{self.broken:,} that cannot be opened, "
            f"{self.unknown_duration:,} of unknown duration\n"
            f"{duration(self.seconds_of_video)} of video: {rows}\n"
            f"in all    about {duration(self.total_seconds)}{machines}\n"
        )
        if self.decode_seconds or self.device_seconds:
            text += (
                f"decoding  about {duration(self.decode_seconds)} alone\n"
                f"networks  about {duration(self.device_seconds)} alone (both run at the same time)\n"
            )
        text += f"on disk   about {data_size(self.bytes_out)}"
        return "\n".join([text, *(f"Assumed: {each}" for each in self.assumptions)])


def estimate(prepared: PreparedRun, command_seconds: float = 0.0, hardware: Hardware = THIS_MACHINE) -> Cost:
    """Measure decoding and the networks briefly, and extrapolate. Extracts nothing.

    The networks run with random weights, which are as fast as others. `command_seconds` is what the command takes
    before the run begins. Of many videos, a sample is opened. On hardware of a stated speed, nothing is measured, and
    no video is opened whose length a list states. Raises UsageError if no video can be extracted.
    """
    config, entries = prepared.config, videos_to_extract(prepared)
    specs = [extractor_record(space)[0].spec for space in requested_spaces(config)]
    listed = prepared.found.listed_seconds if prepared.found is not None else {}
    known_lengths = all(entry.path in listed for entry in entries)
    sample = [] if hardware.speed is not None and known_lengths else sample_of(entries)
    remote = sum(is_url(entry.path) for entry in sample)
    if remote:
        raise UsageError(
            f"{counted(remote, 'video')} of the source {'is' if remote == 1 else 'are'} at URLs: their decoding is "
            "measured only where they are files of this machine. Download a few, and estimate these with --dry-run; or "
            "state every length in a list's column `seconds`, and a speed with --at-speed."
        )
    videos = open_videos(sample, specs, config)
    if sample and not videos and not known_lengths:
        raise UsageError(
            f"None of the {len(sample)} videos {'opened ' if len(sample) < len(entries) else ''}of the source can be "
            "extracted. Extract to see the reasons. To estimate from a list alone, state the length of every video in "
            "its column `seconds`."
        )
    assumptions = _assumptions(len(sample), videos, len(entries), hardware)
    measured = {video.entry.path: video.metadata.duration_seconds or 0.0 for video in videos}
    readable = _readable(entries, sample, videos)
    lengths = Lengths.of(readable, listed, measured)
    share = len(videos) / len(sample) if videos and len(sample) < len(entries) else 1.0
    seconds_of_video = lengths.total * share
    rows = {spec.name: round(lengths.rows(spec) * share) for spec in specs}
    shown = [_Shown(video.shape, video.seconds) for video in videos] or [_Shown(_USUAL_SHAPE, 1.0)] * bool(entries)
    scale = seconds_of_video / (sum(each.seconds for each in shown) or 1.0)
    known = load_calibration()
    if hardware.speed is None:
        known, device_seconds, devices = _network_seconds(known, shown, config)
        decode_wall, decode_cpu = _decode_seconds(videos, specs, config)
        device_seconds, decode_wall, decode_cpu = (each * scale for each in (device_seconds, decode_wall, decode_cpu))
        work_seconds = _work_seconds(device_seconds, decode_cpu, devices) / hardware.machines
        run_seconds = (known.start_seconds or 0.0) + work_seconds * known.correction
    else:
        decode_wall = device_seconds = 0.0
        work_seconds = run_seconds = seconds_of_video / hardware.speed / hardware.machines
    cost = Cost(
        videos=round(len(readable) * share),
        broken=len(entries) - round(len(readable) * share),
        unknown_duration=round(
            sum(video.metadata.duration_seconds is None and video.entry.path not in listed for video in videos)
            * (len(entries) / len(sample) if sample else 1.0)
        ),
        seconds_of_video=seconds_of_video,
        decode_seconds=decode_wall,
        device_seconds=device_seconds,
        total_seconds=command_seconds + run_seconds if entries else 0.0,
        rows=rows,
        bytes_out=sum(count * EXTRACTORS[name].spec.feature_dim * _BYTES_PER_NUMBER for name, count in rows.items()),
        shards=len(prepared.all_tasks),
        opened=len(videos),
        stated=lengths.stated,
        machines=hardware.machines,
        assumptions=assumptions,
    )
    if hardware == THIS_MACHINE and cost.seconds_of_video and work_seconds:
        estimated = Estimated(cost.seconds_of_video, run_seconds, work_seconds)
        known = known.with_estimate(str(prepared.store_folder.absolute()), estimated)
    save_calibration(known)
    return cost


def _readable(
    entries: Sequence[VideoEntry], sample: Sequence[VideoEntry], videos: Sequence[OpenedVideo]
) -> Sequence[VideoEntry]:
    """Return the videos that can be opened; all where only a sample was, or none can be: their lengths are stated."""
    return entries if len(sample) < len(entries) or not videos else [video.entry for video in videos]


def _assumptions(opening: int, videos: Sequence[OpenedVideo], total: int, hardware: Hardware) -> tuple[str, ...]:
    """Return what the estimate takes for granted, as sentences."""
    found = []
    if opening and not videos:
        height, width = _USUAL_SHAPE
        found.append(
            f"none of {_of(opening, total)} can be opened here, so lengths are those of the list, pictures have "
            f"{width}x{height} pixels, and decoding takes no longer than the networks."
        )
    elif 0 < opening < total:
        found.append(f"{_of(opening, total)} were opened, chosen by chance; the others are like them.")
    if hardware.speed is not None:
        found.append(f"each machine extracts {hardware.speed:,.10g} s of video per second.")
    elif hardware.machines > 1:
        found.append("each machine is as fast as this one, and storage keeps up.")
    return tuple(found)


def _of(count: int, total: int) -> str:
    return f"{count:,} of the {counted(total, 'video')}" if count < total else f"the {counted(total, 'video')}"


def videos_to_extract(prepared: PreparedRun) -> list[VideoEntry]:
    """Return the videos that a run will extract: new and changed ones, and those that incomplete shards lack."""
    growth = prepared.growth
    found = [entry for manifest in (growth.new_shards if growth is not None else ()) for entry in manifest.videos]
    for task in prepared.tasks:
        manifest = prepared.store.manifest(task.shard)
        positions = (
            range(len(manifest.videos)) if task.inspection is None else task.inspection.pending(task.retry, task.redo)
        )
        found += [manifest.videos[position] for position in positions]
    return [entry for entry in found if entry.duplicate_of is None]


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
