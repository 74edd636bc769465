"""Measures decoding and networks on this machine, for the estimate of an extraction."""

from __future__ import annotations

import collections
import contextlib
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reeldex.extractors.decode import decode
from reeldex.extractors.errors import ExtractionError
from reeldex.extractors.frames import FrameBatch, VideoSource
from reeldex.flows.execution.workers import Worker

if TYPE_CHECKING:
    from reeldex.extractors.network import Network
    from reeldex.extractors.options import DecodeLimits, DecodeOptions
    from reeldex.extractors.runtimes.network import PendingRows
    from reeldex.extractors.spec import ExtractorSpec
    from reeldex.flows.config.pipeline import PipelineConfig
    from reeldex.flows.execution.jobs import OnEvent

DECODE_SAMPLE_SECONDS = 3.0
"""Wall-clock time spent on the decoding of one video."""
_ROUNDS = 3


@dataclass(frozen=True)
class DecodeRate:
    """Decoding of one video alone, by one decoder: wall-clock and CPU seconds per second of video."""

    wall_seconds: float
    cpu_seconds: float


def decode_rate(
    path: str, specs: Sequence[ExtractorSpec], limits: DecodeLimits, options: DecodeOptions
) -> DecodeRate | None:
    """Decode a video for some seconds, its start and its probing included; None if it has no frame."""
    finest = max(specs, key=lambda spec: spec.frames_per_second)
    frames, started, cpu = 0, time.perf_counter(), _cpu_seconds()
    items = decode(VideoSource("measured", path), specs, limits, options=options)
    # A video that cannot be decoded to its end is measured up to that point.
    with contextlib.suppress(ExtractionError), contextlib.closing(items):
        for item in items:
            if isinstance(item, FrameBatch) and item.extractor == finest.name:
                frames += len(item.frames)
            if time.perf_counter() - started > DECODE_SAMPLE_SECONDS:
                break
    if not frames:
        return None
    seconds = frames / finest.frames_per_second
    return DecodeRate((time.perf_counter() - started) / seconds, (_cpu_seconds() - cpu) / seconds)


def seconds_per_row(network: Network, height: int, width: int) -> float:
    """Return the wall-clock seconds per row of a network alone, for frames of this size, in a steady state."""
    height, width = network.spec.input_size(height, width)
    clips = np.zeros((network.batch_rows, network.spec.frames_per_clip, height, width, 3), np.uint8)
    network.submit(clips).wait()  # the first run also sets up
    # Several rounds of what is in flight, so that the end, where cores have nothing left to do, counts little.
    batches = _ROUNDS * max(2, network.batches_in_flight)
    in_flight: collections.deque[PendingRows] = collections.deque()
    started = time.perf_counter()
    for _ in range(batches):
        if len(in_flight) >= max(1, network.batches_in_flight):
            in_flight.popleft().wait()
        in_flight.append(network.submit(clips))
    for pending in in_flight:
        pending.wait()
    return (time.perf_counter() - started) / (batches * len(clips))


@dataclass(frozen=True)
class WorkerStart:
    """A job that only loads the networks of a run, as its worker process does first."""

    spaces: Sequence[str]
    config: PipelineConfig
    number: int = 0

    def __call__(self, device: str, on_event: OnEvent) -> None:  # noqa: ARG002 - a job
        """Load the networks on a device."""
        from reeldex.flows.extraction.networks import load_networks

        compute = self.config.compute.model_copy(update={"device": device})
        load_networks(self.spaces, self.config.model_copy(update={"compute": compute}))


def worker_start_seconds(job: WorkerStart, device: str) -> float:
    """Return how long a worker process takes until it has loaded the networks."""
    worker, started = Worker("estimate"), time.perf_counter()
    try:
        worker.run(job, device, lambda _: None)
        return time.perf_counter() - started
    finally:
        worker.kill()


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of its child processes that have ended."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
