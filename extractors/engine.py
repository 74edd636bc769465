"""The extraction engine: decodes ahead, batches clips, runs the networks, and yields features or failures."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reeldex.devices import usable_cores, usable_devices
from reeldex.extractors.batching import Batch, Batcher, RowBuffer
from reeldex.extractors.clips import to_clips
from reeldex.extractors.decoders import Decoders, DecodingRestarted, Message
from reeldex.extractors.errors import FailureReason
from reeldex.extractors.frames import (
    DecodeSummary,
    ExtractionFailure,
    VideoFeatures,
    VideoSource,
)
from reeldex.extractors.hwaccel import HardwareDecoders, hardware_decoders
from reeldex.extractors.options import EngineOptions
from reeldex.extractors.source_files import LocalFiles, SourceFiles
from reeldex.extractors.work_times import WorkTimes

if TYPE_CHECKING:
    from reeldex.extractors.runtimes.network import Network, PendingRows

_CPU_DECODERS = 2


@dataclass
class _Video:
    """A video in progress: received rows by extractor, the number of pending rows, and the summary at its end."""

    source: VideoSource
    rows: dict[str, RowBuffer]
    row_count: dict[str, int]
    outstanding: int = 0
    summary: DecodeSummary | None = None

    @property
    def complete(self) -> bool:
        return self.summary is not None and self.outstanding == 0


def extract(  # noqa: PLR0913 - all but five by keyword
    sources: Iterable[VideoSource],
    networks: Sequence[Network],
    options: EngineOptions,
    on_decoded: Callable[[float], None] | None = None,
    times: WorkTimes | None = None,
    *,
    files: SourceFiles | None = None,
) -> Generator[VideoFeatures | ExtractionFailure]:
    """Yield features or a failure for each source, in order of completion.

    Memory depends on the options and networks, not on the number or length of videos, apart from the features
    of videos in progress. `on_decoded(seconds)` is called for each further span of decoded video, once more if it is
    decoded again in software, and `times` is incremented. `files` provides the files of the sources; without it, their
    paths are files of this machine. Infrastructure errors (out of memory, device lost, no ffmpeg) are raised, errors of
    a video yielded.
    """
    if not networks:
        raise ValueError("extraction needs at least one network")
    extraction = _Extraction(networks, options, on_decoded, times or WorkTimes(), files=files or LocalFiles())
    yield from extraction.run(list(sources))


class _Extraction:
    def __init__(
        self,
        networks: Sequence[Network],
        options: EngineOptions,
        on_decoded: Callable[[float], None] | None,
        times: WorkTimes,
        *,
        files: SourceFiles,
    ) -> None:
        self._files = files
        self._networks: Mapping[str, Network] = {network.spec.name: network for network in networks}
        self._specs = [network.spec for network in networks]
        self._options = options
        self._decoders = options.decoders or default_decoders([network.device for network in networks])
        self._on_decoded = on_decoded
        self._times = times
        self._batcher = Batcher(lambda name, shape: self._networks[name].new_batch(shape))
        self._videos: dict[int, _Video] = {}
        # Batches in flight, the oldest first; at most the largest `batches_in_flight` of the networks.
        self._in_flight: collections.deque[tuple[Batch, PendingRows]] = collections.deque()
        self._most_in_flight = max(network.batches_in_flight for network in networks)
        # The last rows of a video wait to share a batch with other videos, but not indefinitely: waiting rows
        # would be lost if the process were killed.
        self._most_waiting = max(4 * self._decoders, *(network.batch_rows for network in networks))

    def run(self, sources: list[VideoSource]) -> Iterator[VideoFeatures | ExtractionFailure]:
        try:
            yield from self._run(sources)
        finally:
            # The networks outlive this run, also one that ends in an error or is no longer asked for more.
            while self._in_flight:
                self._in_flight.popleft()[1].discard()

    def _run(self, sources: list[VideoSource]) -> Iterator[VideoFeatures | ExtractionFailure]:
        with Decoders(
            sources,
            self._specs,
            self._options,
            count=self._decoders,
            times=self._times,
            files=self._files,
            hardware=self._hardware(),
        ) as decoders:
            while decoders.running:
                while self._in_flight and decoders.have_nothing_ready:
                    yield from self._collect()
                with self._times.waiting():
                    message = decoders.next_message()
                self._times.queue_depth = decoders.queue_depth
                if message is not None:
                    yield from self._receive(sources[message.video % len(sources)], message)
        yield from self._process(self._batcher.flush(self._batch_rows()))
        while self._in_flight:
            yield from self._collect()

    def _hardware(self) -> HardwareDecoders | None:
        devices = [network.device for network in self._networks.values() if network.device.startswith("cuda")]
        return hardware_decoders(self._options.decode.hwaccel, devices[0] if devices else None)

    def _receive(self, source: VideoSource, message: Message) -> Iterator[VideoFeatures | ExtractionFailure]:
        number, content = message.video, message.content
        if isinstance(content, BaseException):
            raise content
        if isinstance(content, ExtractionFailure | DecodingRestarted):
            self._videos.pop(number, None)
            self._batcher.discard(number)
            if isinstance(content, ExtractionFailure):
                yield content
            return
        video = self._videos.get(number)
        if video is None:
            buffers = {name: RowBuffer(network.spec.feature_dim) for name, network in self._networks.items()}
            video = self._videos[number] = _Video(source, buffers, dict.fromkeys(self._networks, 0))
        if isinstance(content, DecodeSummary):
            video.summary = content
            if video.complete:
                yield self._finish(number)
            waiting = [key for key, each in self._videos.items() if each.summary is not None]
            if len(waiting) > self._most_waiting:
                yield from self._process(self._batcher.flush(self._batch_rows(), video=waiting[0]))
            return
        network = self._networks[content.extractor]
        clips = to_clips(content.frames, network.spec.frames_per_clip)
        first_row = video.row_count[content.extractor]
        video.row_count[content.extractor] += len(clips)
        video.outstanding += len(clips)
        full = self._batcher.add(content.extractor, clips, number, first_row, network.batch_rows)
        yield from self._process(full)
        if self._on_decoded is not None and content.extractor == self._specs[0].name:
            self._on_decoded(len(content.frames) / network.spec.frames_per_second)

    def _batch_rows(self) -> dict[str, int]:
        return {name: network.batch_rows for name, network in self._networks.items()}

    def _process(self, batches: Iterator[Batch]) -> Iterator[VideoFeatures | ExtractionFailure]:
        """Submit batches to their networks; yield videos that are completed by rows received meanwhile."""
        for batch in batches:
            while self._in_flight and len(self._in_flight) >= self._most_in_flight:
                yield from self._collect()
            started = time.monotonic()
            pending = self._networks[batch.extractor].submit(batch.clips)
            self._times.device_seconds += time.monotonic() - started
            self._in_flight.append((batch, pending))
            while len(self._in_flight) > self._most_in_flight:
                yield from self._collect()

    def _collect(self) -> Iterator[VideoFeatures | ExtractionFailure]:
        """Wait for the rows of the oldest batch and assign them to their videos; yield completed videos."""
        batch, pending = self._in_flight.popleft()
        started = time.monotonic()
        rows = pending.wait()
        self._times.device_seconds += time.monotonic() - started
        # Rows of a video that has failed meanwhile are dropped.
        owned = [(owner, values) for owner, values in zip(batch.owners, rows, strict=False) if owner[0] in self._videos]
        for (number, row), values in owned:
            self._videos[number].rows[batch.extractor].put(row, values)
            self._videos[number].outstanding -= 1
        for number in dict.fromkeys(owner[0] for owner, _ in owned):
            if self._videos[number].complete:
                yield self._finish(number)

    def _finish(self, number: int) -> VideoFeatures | ExtractionFailure:
        video = self._videos.pop(number)
        assert video.summary is not None  # noqa: S101 - only complete videos are finished
        rows = {}
        for name, buffer in video.rows.items():
            rows[name] = buffer.take(video.row_count[name])
            if not np.isfinite(rows[name]).all():
                return ExtractionFailure(
                    video.source,
                    FailureReason.INTERNAL_ERROR,
                    f"{name} produced values that are not finite (NaN or infinity). "
                    "Try --precision fp32; if that does not help, the weights are damaged.",
                )
        seconds_per_row = {name: network.spec.seconds_per_row for name, network in self._networks.items()}
        starts = {name: video.summary.first_row_seconds.get(name, 0.0) for name in self._networks}
        return VideoFeatures(video.source, rows, seconds_per_row, video.summary, starts)


def default_decoders(devices: Sequence[str]) -> int:
    """Return how many videos are decoded at the same time for networks on these devices of this process.

    On a CPU, decoding shares the cores with the networks. A GPU waits for decoding, which one core per video does with
    the least overhead.
    """
    if not any(device.startswith("cuda") for device in devices):
        return _CPU_DECODERS
    return max(_CPU_DECODERS, usable_cores() // len(usable_devices("cuda")))
