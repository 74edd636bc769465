"""Processes one shard: extract its missing features, stage each finished video, publish."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import logging
import platform
import socket
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reeldex.extractors.engine import extract
from reeldex.extractors.frames import DecodeSummary, ExtractionFailure, VideoFeatures, VideoSource
from reeldex.extractors.options import DecodeOptions, EngineOptions
from reeldex.extractors.truncation import tolerance_seconds
from reeldex.extractors.work_times import WorkTimes
from reeldex.flows.extraction.events import ShardPlanned, TimeSpent, VideoDecoded, VideoFinished
from reeldex.flows.extraction.file_names import printable
from reeldex.flows.extraction.networks import feature_space
from reeldex.flows.extraction.store_faults import space_needed, store_faults
from reeldex.quantities import counted, duration
from reeldex.storage.json_codec import Integer, Number, to_json
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoOutcome

if TYPE_CHECKING:
    from reeldex.extractors.runtimes.network import Network
    from reeldex.flows.config.pipeline import ComputeConfig
    from reeldex.flows.execution.jobs import OnEvent
    from reeldex.storage.inspection import Inspection
    from reeldex.storage.schema import VideoEntry
    from reeldex.storage.staging import Staging
    from reeldex.storage.store import FeatureStore

log = logging.getLogger(__name__)

_SPENT_EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class ShardReport:
    """Result of a run for a shard: videos extracted and failed, seconds of video and of work.

    `device_seconds` is time in the networks, `waiting_seconds` time waiting for decoded frames.
    """

    shard: Integer
    ok: Integer
    failed: Integer
    seconds_of_video: Number
    seconds_of_work: Number
    device_seconds: Number
    waiting_seconds: Number

    def __str__(self) -> str:
        speed = self.seconds_of_video / self.seconds_of_work if self.seconds_of_work else 0.0
        return (
            f"Shard {self.shard:05d}: {counted(self.ok, 'video')} ok, {self.failed:,} failed, "
            f"{duration(self.seconds_of_work)}, "
            f"{speed:.2f} s of video per second"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        found: dict[str, Any] = to_json(self)
        return found


def inspect_if_incomplete(
    store: FeatureStore, shard: int, spaces: Sequence[FeatureSpace], retry: Collection[str] = ()
) -> Inspection | None:
    """Return what is on disk for a shard that is incomplete in these spaces, or has failures to `retry`; else None."""
    inspection = store.inspect(shard, spaces)
    state = inspection.state()
    for problem in state.problems:
        log.warning("Shard %05d: %s", shard, problem)
    work_left = not state.done or state.staged_positions or inspection.pending(retry)
    return inspection if work_left else None


def run_shard(  # noqa: PLR0913 - all but two by keyword
    store: FeatureStore,
    networks: Sequence[Network],
    *,
    shard: int,
    compute: ComputeConfig,
    on_event: OnEvent,
    decode: DecodeOptions = DecodeOptions(),  # noqa: B008 - frozen
    retry: Collection[str] = (),
    redo: Collection[int] = (),
    known: Inspection | None = None,
) -> ShardReport:
    """Extract the missing videos of a shard and publish it. Requires the store's lock.

    Videos that failed for a reason in `retry` are retried, those at the positions `redo` extracted in any case. `known`
    is the plan's inspection of the shard. A broken video gets a failed outcome; an infrastructure error is raised, and
    staged videos are kept for the next run. A full disk is stated with the space that the shard still needs.
    """
    started = time.monotonic()
    spaces = {network.space: feature_space(network, decode) for network in networks}
    # The lock has been held since the plan, but an earlier attempt of this shard may have staged or published since.
    inspection = store.inspect(shard, list(spaces.values()), known)
    missing = inspection.state().missing_spaces
    # Retried videos are extracted in all spaces they lack; other videos only if they are not published.
    active = [network for network in networks if retry or redo or network.space in missing]
    positions = inspection.pending(retry, redo)
    entries = store.manifests()[shard].videos
    position_of = {entries[position].video_id: position for position in positions}
    sources = [_source(entries[position]) for position in positions]
    limits = compute.limits
    staging, times = store.staging(shard), WorkTimes()
    in_work = len(sources) + len(inspection.staged)
    on_event(ShardPlanned(shard, len(sources), len(entries)))
    ok = failed = 0
    seconds_of_video = 0.0
    log.info("Shard %05d: %d of %d videos to extract", shard, len(sources), len(entries))
    options = EngineOptions(decoders=compute.decoders, limits=limits, decode=decode)

    spent = _Spent(shard, times, on_event)

    def on_decoded(seconds: float) -> None:
        on_event(VideoDecoded(seconds))
        spent.report()

    # After an error, decoders must not run on until the generator is garbage-collected.
    with contextlib.closing(extract(sources, active, options, on_decoded, times)) as results:
        for result in results if sources else ():
            outcome = outcome_of(result)
            rows = _rows_of(result, {network.spec.name: spaces[network.space] for network in active})
            row_bytes = sum(each.rows.nbytes for each in rows.values())
            needed = functools.partial(_space_needed, staging, in_work, row_bytes)
            with store_faults(store.path, needed):
                staging.put(position_of[outcome.video_id], outcome, rows)
            if outcome.status == "ok":
                ok += 1
                seconds_of_video += outcome.duration_seconds or 0.0
            else:
                failed += 1
            on_event(VideoFinished(shard, outcome))
    spent.report(last=True)
    seconds_of_work = time.monotonic() - started
    with store_faults(store.path, functools.partial(_space_needed, staging, in_work)):
        store.publish_shard(
            shard,
            list(spaces.values()),
            provenance=provenance(networks[0]),
            seconds_of_work=seconds_of_work if sources else 0.0,
            known=inspection,
        )
    report = ShardReport(
        shard, ok, failed, seconds_of_video, seconds_of_work, times.device_seconds, times.waiting_seconds
    )
    log.info("%s", report)
    return report


class _Spent:
    """Reports what a shard's time was spent on: at most once per second, and at its end."""

    def __init__(self, shard: int, times: WorkTimes, on_event: OnEvent) -> None:
        self._shard = shard
        self._times = times
        self._on_event = on_event
        self._reported = TimeSpent(shard)
        self._at = time.monotonic()

    def report(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self._at < _SPENT_EVERY_SECONDS:
            return
        times, self._at = self._times, now
        depth = 0 if last else times.queue_depth
        spent = TimeSpent(self._shard, times.decode_seconds, times.device_seconds, times.waiting_seconds, depth)
        self._on_event(spent.since(self._reported))
        self._reported = spent


def _space_needed(staging: Staging, videos: int, unstaged_bytes: int = 0) -> float | None:
    return space_needed(videos, *staging.usage(), unstaged_bytes)


def _source(entry: VideoEntry) -> VideoSource:
    start, end = (entry.span.start_seconds, entry.span.end_seconds) if entry.span is not None else (0.0, None)
    return VideoSource(entry.video_id, entry.path, start, end)


def outcome_of(result: VideoFeatures | ExtractionFailure) -> VideoOutcome:
    """Return the outcome to record for a result of the engine."""
    video_id, path = result.source.video_id, result.source.path
    if isinstance(result, ExtractionFailure):
        message = printable(result.message)
        return VideoOutcome(video_id, path, "failed", str(result.reason), message, attempts=1)
    summary = result.summary
    sentences = [printable(sentence) for sentence in summary.notes.values()]
    if summary.truncated and result.source.end_seconds is not None:
        sentences.append(
            f"The clip should end at {result.source.end_seconds:g} s, but the picture ends at "
            f"{_picture_end_seconds(summary):.1f} s. Features up to there are kept; correct the list, or "
            "replace the file if it should be longer."
        )
    elif summary.truncated:
        sentences.append(
            f"The container's duration is {summary.metadata.end_seconds:.1f} s, but the video stream ends after "
            f"{_picture_end_seconds(summary):.1f} s: the file is truncated, or its audio is longer than its video. "
            "Features up to there are kept; replace the file if it should be longer."
        )
    if summary.error_count:
        sentences.append(
            f"The decoder reported {counted(summary.error_count, 'error')}, first: "
            f"{printable(summary.first_error).rstrip('.')}. "
            "Features are kept; some frames may be damaged."
        )
    return VideoOutcome(
        video_id,
        path,
        "ok",
        "truncated" if summary.truncated else None,
        " ".join(sentences),
        attempts=1,
        truncated=summary.truncated,
        decode_error_count=summary.error_count,
        duration_seconds=_duration_seconds(result),
        notes=tuple(str(kind) for kind in summary.notes),
    )


def _picture_end_seconds(summary: DecodeSummary) -> float:
    return summary.decoded_seconds if summary.picture_end_seconds is None else summary.picture_end_seconds


def _duration_seconds(features: VideoFeatures) -> float:
    """Return the length of the video: the container's, unless the picture is known to be shorter or longer."""
    decoded = features.summary.decoded_seconds
    stated = None if features.source.is_clip else features.summary.metadata.duration_seconds
    if stated is None or features.summary.truncated:
        return decoded
    return stated if abs(stated - decoded) <= tolerance_seconds(stated) else decoded


def _rows_of(
    result: VideoFeatures | ExtractionFailure, spaces: dict[str, FeatureSpace]
) -> dict[FeatureSpace, FeatureRows]:
    if isinstance(result, ExtractionFailure):
        return {}
    return {
        spaces[name]: FeatureRows(
            rows=rows,
            start_seconds=result.first_row_seconds[name],
            seconds_per_row=result.seconds_per_row[name],
            duration_seconds=_duration_seconds(result),
            truncated=result.summary.truncated,
            source=result.source.path,
            colour=result.summary.metadata.colour.stated(),
            damaged_rows=result.summary.damaged_rows[name],
        )
        for name, rows in result.rows.items()
    }


def provenance(network: Network) -> dict[str, Any]:
    """Return the provenance of features, which does not define them: versions, device, host."""
    device = _device_name(network.device)
    return {**_versions(), "device": device, "runtime": network.runtime, "host": socket.gethostname()}


@functools.cache
def _versions() -> dict[str, str]:
    from reeldex.extractors import ffmpeg

    packages = ("reeldex", "torch", "numpy", "h5py")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {**versions, "ffmpeg": ffmpeg.version(), "python": platform.python_version()}


@functools.cache
def _device_name(device: str) -> str:
    if not device.startswith("cuda"):
        return f"cpu ({platform.machine()})"
    import torch

    return torch.cuda.get_device_name(device)
