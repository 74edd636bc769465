"""Estimated cost of an extraction, for `--dry-run`.

Decoding is measured on videos of the source, of each kind the one in the middle; networks on frames of its sizes, once
per machine (`calibration.py`). On a CPU both share the cores, so that their times add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reeldex.errors import UsageError
from reeldex.extractors.registry import extractor
from reeldex.flows.extraction.calibration import Calibration, Estimated, change_calibration, load_calibration
from reeldex.flows.extraction.hardware import THIS_MACHINE, Hardware
from reeldex.flows.extraction.networks import extractor_record, requested_spaces
from reeldex.flows.extraction.opened_videos import OpenedVideo, open_videos
from reeldex.flows.extraction.video_lengths import Lengths, sample_of
from reeldex.flows.extraction.work import USUAL_SHAPE, Work, measured_work
from reeldex.quantities import counted, data_size, duration
from reeldex.remote_urls import is_url
from reeldex.storage.json_codec import to_json

if TYPE_CHECKING:
    from reeldex.extractors.spec import ExtractorSpec
    from reeldex.flows.extraction.prepare import PreparedRun
    from reeldex.storage.schema import VideoEntry

_BYTES_PER_NUMBER = 2  # float16


@dataclass(frozen=True)
class Cost:
    """What an extraction would take.

    - `videos` are to be extracted, those that have their features already are not; `broken` cannot be opened, or their
      pictures exceed the limits; `unknown_duration` counts videos without a duration, which count as 0 s.
    - `decode_seconds`: wall-clock time of decoding alone, one video after the other, `device_seconds` of the networks
      alone; `total_seconds` of the whole run, of which `start_seconds` pass before the first video is decoded.
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
    start_seconds: float
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
    seen = _seen(prepared, entries, specs, hardware)
    rows = {spec.name: round(seen.lengths.rows(spec) * seen.share) for spec in specs}
    known = load_calibration()
    if hardware.speed is None:
        known, work = measured_work(known, seen.videos, seen.seconds_of_video, specs, config)
        workers_seconds, correction = known.start_seconds or 0.0, known.correction
    else:
        work = Work(0.0, 0.0, seen.seconds_of_video / hardware.speed)
        workers_seconds, correction = 0.0, 1.0
    run_seconds = workers_seconds + work.seconds * correction * seen.busiest_share
    cost = Cost(
        videos=round(len(seen.readable) * seen.share),
        broken=len(entries) - round(len(seen.readable) * seen.share),
        unknown_duration=seen.unknown_duration,
        seconds_of_video=seen.seconds_of_video,
        decode_seconds=work.decode_seconds,
        device_seconds=work.device_seconds,
        start_seconds=command_seconds + workers_seconds if entries else 0.0,
        total_seconds=command_seconds + run_seconds if entries else 0.0,
        rows=rows,
        bytes_out=sum(count * extractor(name).spec.feature_dim * _BYTES_PER_NUMBER for name, count in rows.items()),
        shards=len(prepared.all_tasks),
        opened=len(seen.videos),
        stated=seen.lengths.stated,
        machines=hardware.machines,
        assumptions=_assumptions(seen.sampled, seen.videos, len(entries), hardware),
    )
    estimated = Estimated(cost.seconds_of_video, run_seconds, work.seconds)

    def keep(by_now: Calibration) -> Calibration:
        found = by_now.with_measured(known)
        if hardware != THIS_MACHINE or not cost.seconds_of_video or not work.seconds:
            return found
        return found.with_estimate(str(prepared.store_folder.absolute()), estimated)

    if hardware.speed is None:
        change_calibration(keep)
    return cost


@dataclass(frozen=True)
class _Seen:
    """What is known of the videos of an estimate without decoding them.

    `sampled` were tried, `videos` opened; `readable` count, in the end times `share`. `busiest_share` is that of the
    work, of the machine that has most of it.
    """

    sampled: int
    videos: Sequence[OpenedVideo]
    readable: Sequence[VideoEntry]
    lengths: Lengths
    share: float
    unknown_duration: int
    busiest_share: float

    @property
    def seconds_of_video(self) -> float:
        return self.lengths.total * self.share


def _seen(
    prepared: PreparedRun, entries: Sequence[VideoEntry], specs: Sequence[ExtractorSpec], hardware: Hardware
) -> _Seen:
    """Open the videos, or a sample of them, unless all lengths are stated. Raises as `estimate` does."""
    listed = prepared.found.listed_seconds if prepared.found is not None else {}
    known_lengths = all(entry.path in listed for entry in entries)
    sample = [] if hardware.speed is not None and known_lengths else sample_of(entries)
    if remote := sum(is_url(entry.path) for entry in sample):
        raise UsageError(
            f"{counted(remote, 'video')} of the source {'is' if remote == 1 else 'are'} at URLs: their decoding is "
            "measured only where they are files of this machine. Download a few, and estimate these with --dry-run; or "
            "state every length in a list's column `seconds`, and a speed with --at-speed."
        )
    videos = open_videos(sample, specs, prepared.config)
    if sample and not videos and not known_lengths:
        raise UsageError(
            f"None of the {len(sample)} videos {'opened ' if len(sample) < len(entries) else ''}of the source can be "
            "extracted. Extract to see the reasons. To estimate from a list alone, state the length of every video in "
            "its column `seconds`."
        )
    readable = _readable(entries, sample, videos)
    measured = {video.entry.path: video.metadata.duration_seconds or 0.0 for video in videos}
    unknown = sum(video.metadata.duration_seconds is None and video.entry.path not in listed for video in videos)
    return _Seen(
        sampled=len(sample),
        videos=videos,
        readable=readable,
        lengths=Lengths.of(readable, listed, measured),
        share=len(videos) / len(sample) if videos and len(sample) < len(entries) else 1.0,
        unknown_duration=round(unknown * (len(entries) / len(sample) if sample else 1.0)),
        busiest_share=hardware.busiest_share(len(prepared.all_tasks)),
    )


def _readable(
    entries: Sequence[VideoEntry], sample: Sequence[VideoEntry], videos: Sequence[OpenedVideo]
) -> Sequence[VideoEntry]:
    """Return the videos that can be opened; all where only a sample was, or none can be: their lengths are stated."""
    return entries if len(sample) < len(entries) or not videos else [video.entry for video in videos]


def _assumptions(opening: int, videos: Sequence[OpenedVideo], total: int, hardware: Hardware) -> tuple[str, ...]:
    """Return what the estimate takes for granted, as sentences."""
    found = []
    if opening and not videos:
        height, width = USUAL_SHAPE
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
