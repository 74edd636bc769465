"""Processes one shard: extract its missing features, stage each finished video, publish."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reeldex.extractors.engine import extract
from reeldex.extractors.frames import ExtractionFailure, VideoFeatures, VideoSource
from reeldex.extractors.options import DecodeOptions, EngineOptions
from reeldex.extractors.work_times import WorkTimes
from reeldex.flows.config.fetching import FetchConfig
from reeldex.flows.extraction.engine_results import outcome_of, provenance, rows_of
from reeldex.flows.extraction.events import ShardPlanned, TimeSpent, VideoDecoded, VideoFinished
from reeldex.flows.extraction.networks import feature_space
from reeldex.flows.extraction.store_faults import space_needed, store_faults
from reeldex.flows.fetching.ahead import FetchedFiles
from reeldex.quantities import counted, duration
from reeldex.remote_urls import is_url
from reeldex.storage.json_codec import Integer, Number, to_json

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from reeldex.extractors.runtimes.network import Network
    from reeldex.flows.config.pipeline import ComputeConfig
    from reeldex.flows.execution.jobs import OnEvent
    from reeldex.storage.completeness import CompleteShards
    from reeldex.storage.inspection import Inspection
    from reeldex.storage.schema import FeatureSpace, VideoEntry, VideoOutcome
    from reeldex.storage.staging import Staging
    from reeldex.storage.store import FeatureStore

log = logging.getLogger(__name__)

_SPENT_EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class ShardReport:
    """Result of a run for a shard: videos extracted and failed, seconds of video and of work.

    `device_seconds` is time in the networks, `waiting_seconds` time waiting for decoded frames; of the latter
    `fetching_seconds` for videos at URLs.
    """

    shard: Integer
    ok: Integer
    failed: Integer
    seconds_of_video: Number
    seconds_of_work: Number
    device_seconds: Number
    waiting_seconds: Number
    fetching_seconds: Number = 0.0

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
    store: FeatureStore,
    shard: int,
    spaces: Sequence[FeatureSpace],
    retry: Collection[str] = (),
    complete: CompleteShards | None = None,
) -> Inspection | None:
    """Return what is on disk for a shard that is incomplete in these spaces, or has failures to `retry`; else None.

    A shard that is known to be `complete` is not opened; one that is found to be so is noted there.
    """
    if complete is not None and not retry and complete.has(shard, spaces):
        return None
    inspection = store.inspect(shard, spaces)
    if complete is not None:
        complete.add(inspection)
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
    fetch: FetchConfig = FetchConfig(),  # noqa: B008 - frozen
    retry: Collection[str] = (),
    redo: Collection[int] = (),
    known: Inspection | None = None,
) -> ShardReport:
    """Extract the missing videos of a shard and publish it. Requires the shard's claim.

    Videos that failed for a reason in `retry` are retried, those at the positions `redo` extracted in any case. `known`
    is the plan's inspection of the shard. A broken video gets a failed outcome; an infrastructure error is raised, and
    staged videos are kept for the next run. A full disk is stated with the space that the shard still needs.
    """
    started = time.monotonic()
    spaces = {network.space: feature_space(network, decode) for network in networks}
    # An earlier attempt, or another run, may have staged or published since the plan.
    inspection = store.inspect(shard, list(spaces.values()), known)
    missing = inspection.state().missing_spaces
    # Retried videos are extracted in all spaces they lack; other videos only if they are not published.
    active = [network for network in networks if retry or redo or network.space in missing]
    entries, positions = store.manifest(shard).videos, inspection.pending(retry, redo)
    on_event(ShardPlanned(shard, len(positions), len(entries)))
    log.info("Shard %05d: %d of %d videos to extract", shard, len(positions), len(entries))
    shard_staging = _ShardStaging(
        store,
        store.staging(shard),
        {entries[position].video_id: position for position in positions},
        {network.spec.name: spaces[network.space] for network in active},
        in_work=len(positions) + len(inspection.staged),
    )
    times, finished = WorkTimes(), _Finished()
    sources = [_source(entries[position]) for position in positions]
    options = EngineOptions(decoders=compute.decoders, limits=compute.limits, decode=decode)
    files = FetchedFiles(fetch, {entry.path: entry.size_bytes for entry in entries if is_url(entry.path)})
    # After an error, decoders must not run on until the generator is garbage-collected.
    with contextlib.closing(_extracted(shard, sources, active, options, files, times, on_event)) as results:
        for result in results:
            outcome = shard_staging.put(result)
            finished.count(outcome)
            on_event(VideoFinished(shard, outcome))
    seconds_of_work = time.monotonic() - started
    with shard_staging.faults():
        store.publish_shard(
            shard,
            list(spaces.values()),
            provenance=provenance(networks[0]),
            seconds_of_work=seconds_of_work if sources else 0.0,
            known=inspection,
        )
    report = finished.report(shard, seconds_of_work, times)
    log.info("%s", report)
    return report


def _extracted(  # noqa: PLR0913, PLR0917 - what a shard's extraction needs
    shard: int,
    sources: Sequence[VideoSource],
    networks: Sequence[Network],
    options: EngineOptions,
    files: FetchedFiles,
    times: WorkTimes,
    on_event: OnEvent,
) -> Generator[VideoFeatures | ExtractionFailure, None, None]:
    """Yield the result of each video, and report what the time is spent on."""
    spent = _Spent(shard, times, on_event)

    def on_decoded(seconds: float) -> None:
        on_event(VideoDecoded(seconds))
        spent.report()

    if sources:
        yield from extract(sources, networks, options, on_decoded, times, files=files)
    spent.report(last=True)


@dataclass
class _Finished:
    """The videos of a shard that this run has staged."""

    ok: int = 0
    failed: int = 0
    seconds_of_video: float = 0.0

    def count(self, outcome: VideoOutcome) -> None:
        if outcome.status == "ok":
            self.ok += 1
            self.seconds_of_video += outcome.duration_seconds or 0.0
        else:
            self.failed += 1

    def report(self, shard: int, seconds_of_work: float, times: WorkTimes) -> ShardReport:
        return ShardReport(
            shard,
            self.ok,
            self.failed,
            self.seconds_of_video,
            seconds_of_work,
            times.device_seconds,
            times.waiting_seconds,
            times.fetching_seconds,
        )


@dataclass(frozen=True)
class _ShardStaging:
    """Stages the results of a shard, by the positions of their videos; `spaces` by the extractors' names."""

    store: FeatureStore
    staging: Staging
    position_of: Mapping[str, int]
    spaces: Mapping[str, FeatureSpace]
    in_work: int

    def put(self, result: VideoFeatures | ExtractionFailure) -> VideoOutcome:
        """Stage a result, and return its outcome."""
        outcome, rows = outcome_of(result), rows_of(result, self.spaces)
        with self.faults(sum(each.rows.nbytes for each in rows.values())):
            self.staging.put(self.position_of[outcome.video_id], outcome, rows)
        return outcome

    def faults(self, unstaged_bytes: int = 0) -> AbstractContextManager[None]:
        """Name the store in faults of its disk; a full disk is stated with the space that the shard still needs."""
        return store_faults(self.store.path, lambda: space_needed(self.in_work, *self.staging.usage(), unstaged_bytes))


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
        spent = TimeSpent(
            self._shard,
            times.decode_seconds,
            times.device_seconds,
            times.waiting_seconds,
            depth,
            times.fetching_seconds,
        )
        self._on_event(spent.since(self._reported))
        self._reported = spent


def _source(entry: VideoEntry) -> VideoSource:
    start, end = (entry.span.start_seconds, entry.span.end_seconds) if entry.span is not None else (0.0, None)
    return VideoSource(entry.video_id, entry.path, start, end)
