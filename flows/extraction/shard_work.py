"""The work of one shard: extract what it lacks, stage each video as it is done, publish."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import platform
import socket
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from reeldex.extractors.engine import WorkTimes, extract
from reeldex.extractors.frames import ExtractionFailure, VideoFeatures, VideoSource
from reeldex.extractors.options import EngineOptions
from reeldex.flows.extraction.events import ShardPlanned, VideoDecoded, VideoFinished
from reeldex.flows.extraction.networks import feature_space
from reeldex.flows.extraction.sources import printable
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoOutcome

if TYPE_CHECKING:
    from reeldex.extractors.runtimes.network import Network
    from reeldex.flows.config.pipeline import ComputeConfig
    from reeldex.flows.execution.jobs import OnEvent
    from reeldex.storage.store import FeatureStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardReport:
    """What one run did to a shard: videos extracted or failed in it, seconds of video and of work.

    Of the work, the networks computed for `device_seconds` and waited for decoded frames for `waiting_seconds`.
    """

    shard: int
    ok: int
    failed: int
    seconds_of_video: float
    seconds_of_work: float
    device_seconds: float
    waiting_seconds: float

    def __str__(self) -> str:
        speed = self.seconds_of_video / self.seconds_of_work if self.seconds_of_work else 0.0
        return (
            f"Shard {self.shard:05d}: {self.ok} videos ok, {self.failed} failed, {self.seconds_of_work:.1f} seconds, "
            f"{speed:.2f} s of video per second"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def work_left(store: FeatureStore, shard: int, spaces: Sequence[FeatureSpace], retry: Collection[str] = ()) -> bool:
    """Whether a shard lacks something in these spaces, or holds failures whose reason is in `retry`."""
    inspection = store.inspect(shard, spaces)
    state = inspection.state()
    for problem in state.problems:
        log.warning("Shard %05d: %s", shard, problem)
    return not state.done or bool(state.staged_positions) or bool(inspection.pending(retry))


def run_shard(  # noqa: PLR0913 - all but two by keyword
    store: FeatureStore,
    networks: Sequence[Network],
    *,
    shard: int,
    compute: ComputeConfig,
    on_event: OnEvent,
    retry: Collection[str] = (),
) -> ShardReport:
    """Extract the videos that a shard lacks and publish it, for the holder of the store's lock.

    Videos that failed for a reason in `retry` are tried again. A broken video ends in its outcome; a broken machine
    raises, and what was staged stays for the next run.
    """
    started = time.monotonic()
    spaces = {network.space: feature_space(network) for network in networks}
    inspection = store.inspect(shard, list(spaces.values()))
    missing = inspection.state().missing_spaces
    # Videos tried again need whatever they lack; else nothing is extracted that is published already.
    active = [network for network in networks if retry or network.space in missing]
    positions = inspection.pending(retry)
    entries = store.manifests()[shard].videos
    position_of = {entries[position].video_id: position for position in positions}
    sources = [VideoSource(video_id, entries[position].path) for video_id, position in position_of.items()]
    limits = compute.limits
    staging, times = store.staging(shard), WorkTimes()
    on_event(ShardPlanned(shard, len(sources), len(entries)))
    ok = failed = 0
    seconds_of_video = 0.0
    log.info("Shard %05d: %d of %d videos to extract", shard, len(sources), len(entries))
    options = EngineOptions(decoders=compute.decoders, limits=limits)

    def on_decoded(seconds: float) -> None:
        on_event(VideoDecoded(seconds))

    for result in extract(sources, active, options, on_decoded, times) if sources else ():
        outcome = outcome_of(result)
        rows = _rows_of(result, {network.spec.name: spaces[network.space] for network in active})
        staging.put(position_of[outcome.video_id], outcome, rows)
        if outcome.status == "ok":
            ok += 1
            seconds_of_video += outcome.duration_seconds or 0.0
        else:
            failed += 1
        on_event(VideoFinished(shard, outcome))
    seconds_of_work = time.monotonic() - started
    store.publish_shard(
        shard,
        list(spaces.values()),
        provenance=provenance(networks[0]),
        seconds_of_work=seconds_of_work if sources else 0.0,
    )
    report = ShardReport(
        shard, ok, failed, seconds_of_video, seconds_of_work, times.device_seconds, times.waiting_seconds
    )
    log.info("%s", report)
    return report


def outcome_of(result: VideoFeatures | ExtractionFailure) -> VideoOutcome:
    """Return the outcome to record for what the engine handed out."""
    video_id, path = result.source.video_id, result.source.path
    if isinstance(result, ExtractionFailure):
        message = printable(result.message)
        return VideoOutcome(video_id, path, "failed", str(result.reason), message, attempts=1)
    summary = result.summary
    notes = []
    if summary.truncated:
        notes.append(
            f"The container promises {summary.metadata.duration_seconds:.1f} s, the picture ends after "
            f"{summary.decoded_seconds:.1f} s: the file is cut off, or its sound outlasts its picture. "
            "Features up to there are kept; fetch the file again if it should be longer."
        )
    if summary.error_count:
        notes.append(
            f"The decoder complained {summary.error_count} times, first: {printable(summary.first_error).rstrip('.')}. "
            "Features are kept; some pictures may be damaged."
        )
    return VideoOutcome(
        video_id,
        path,
        "ok",
        "truncated" if summary.truncated else None,
        " ".join(notes),
        attempts=1,
        truncated=summary.truncated,
        decode_error_count=summary.error_count,
        duration_seconds=_duration_seconds(result),
    )


def _duration_seconds(features: VideoFeatures) -> float:
    promised = features.summary.metadata.duration_seconds
    return features.summary.decoded_seconds if promised is None or features.summary.truncated else promised


def _rows_of(
    result: VideoFeatures | ExtractionFailure, spaces: dict[str, FeatureSpace]
) -> dict[FeatureSpace, FeatureRows]:
    if isinstance(result, ExtractionFailure):
        return {}
    return {
        spaces[name]: FeatureRows(
            rows=rows,
            start_seconds=0.0,
            seconds_per_row=result.seconds_per_row[name],
            duration_seconds=_duration_seconds(result),
            truncated=result.summary.truncated,
            source=result.source.path,
        )
        for name, rows in result.rows.items()
    }


def provenance(network: Network) -> dict[str, Any]:
    """Return what made the features but does not define them: versions, device, host."""
    device = _device_name(network.device)
    return {**_versions(), "device": device, "runtime": network.runtime, "host": socket.gethostname()}


@functools.cache
def _versions() -> dict[str, str]:
    from reeldex.extractors import ffmpeg

    packages = ("reeldex", "torch", "torchvision", "pytorchvideo", "numpy", "h5py")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {**versions, "ffmpeg": ffmpeg.version(), "python": platform.python_version()}


@functools.cache
def _device_name(device: str) -> str:
    if not device.startswith("cuda"):
        return f"cpu ({platform.machine()})"
    import torch

    return torch.cuda.get_device_name(device)
