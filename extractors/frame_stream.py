"""Parses the bytes of an extractor's pipes into chunks of frames.

ffmpeg writes each picture as a binary PPM: three lines of header (P6, width and height, 255), then RGB bytes. The
stream thus contains the size of its pictures, whatever rotation or odd size the file has.
"""

from __future__ import annotations

import os
import re
from array import array
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from reeldex.extractors.clips import chunk_frames
from reeldex.extractors.damage import DamageTracker, Ranges, damaged_samples
from reeldex.extractors.frames import FrameBatch
from reeldex.extractors.sample_clock import BEFORE_ALL_TICKS, SampleClock
from reeldex.extractors.sampling import TickReader
from reeldex.extractors.timeline import Timeline, shift_in_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reeldex.extractors.spec import ExtractorSpec

_HEADER = re.compile(rb"P6\n(\d+) (\d+)\n255\n")
_LONGEST_HEADER_BYTES = 32
_READ_BYTES = 1 << 20


class GapError(Exception):
    """A gap between pictures exceeds the limit: `seconds`, from `start_seconds` on."""

    def __init__(self, start_seconds: float, seconds: float) -> None:
        super().__init__(f"no picture for {seconds:g} s from {start_seconds:g} s on")
        self.start_seconds = start_seconds
        self.seconds = seconds


class MissingPicturesError(Exception):
    """Fewer pictures arrived than the timestamps of the decoded ones require."""


class FrameStream:
    """Repeats the pictures of one pipe according to their timestamps, in chunks of whole clips.

    A video too short to be sampled has one frame, its first picture.
    """

    def __init__(self, spec: ExtractorSpec, chunk_bytes: int, max_gap_seconds: float, *, traced: bool = False) -> None:
        self.spec = spec
        self.frame_count = 0  # frames yielded
        self._max_gap_seconds = max_gap_seconds
        self._tick_reader = TickReader()
        self._ticks: deque[int | None] = deque()  # of pictures whose shift is not known yet
        self._shifts: deque[int] = deque()  # in samples, of pictures whose tick has not been read yet
        self._clock = SampleClock()
        self._traced = traced
        self._first_samples = array("q")  # if traced: the first sample that shows each decoded picture, and the end
        self._counts: deque[int] = deque()  # repetitions of pictures, from the oldest that is not yielded yet
        self._pictures: deque[NDArray[np.uint8]] = deque()
        self._first: NDArray[np.uint8] | None = None
        self._chunk_bytes = chunk_bytes
        self._chunk: NDArray[np.uint8] = np.empty((0, 0, 0, 3), np.uint8)
        self._chunk_filled = 0
        self._header = b""
        self._size = (0, 0)  # height, width
        self._start = bytearray()  # bytes received before the first header was complete
        self._buffer: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._filled = 0

    def read_pictures(self, descriptor: int) -> Generator[FrameBatch, None, bool]:
        """Read available bytes from the pipe of pictures; yield completed chunks, return False at the end.

        Raises ValueError if the bytes are not pictures of one size.
        """
        if not self._header:
            data = os.read(descriptor, _LONGEST_HEADER_BYTES - len(self._start))
            self._start += data
            self._parse_header()
            count = len(data)
        else:
            count = os.readv(descriptor, [self._buffer.data[self._filled :]])
            self._filled += count
        self._take_pictures()
        yield from self._show()
        return count > 0

    def read_ticks(self, descriptor: int) -> Generator[FrameBatch, None, bool]:
        """Read available bytes from the pipe of ticks; yield completed chunks, return False at the end.

        Raises GapError if a picture is shown for longer than the limit.
        """
        self._ticks.extend(self._tick_reader.read_from(descriptor))
        yield from self._advance()
        return not self._tick_reader.ended

    def shift(self, milliseconds: Iterable[int]) -> Iterator[FrameBatch]:
        """Take the shifts of the next pictures, as Timeline returns them; yield completed chunks.

        Raises GapError if a picture is shown for longer than the limit.
        """
        self._shifts.extend(shift_in_samples(each, self.spec.frames_per_second) for each in milliseconds)
        yield from self._advance()

    def _advance(self) -> Iterator[FrameBatch]:
        rate = self.spec.frames_per_second
        while self._ticks and self._shifts:
            for count in self._clock.advance(self._ticks.popleft(), self._shifts.popleft()):
                if count > self._max_gap_seconds * rate:
                    raise GapError(self._clock.samples / rate, count / rate)
                self._counts.append(count)
            if self._traced:
                self._first_samples.append(self._clock.samples)
        yield from self._show()

    @property
    def is_empty(self) -> bool:
        """Whether no picture has arrived yet."""
        return self.frame_count == 0 and self._first is None

    def damaged_samples(self, tracker: DamageTracker) -> Ranges | None:
        """Return the ranges of frames that show pictures which may be damaged, None if unknown."""
        return damaged_samples(tracker.damaged(), tracker.pictures, self._first_samples, self.frame_count)

    def finish(self) -> Iterator[FrameBatch]:
        """Yield the last chunk, once both pipes are closed. Raises MissingPicturesError."""
        if any(self._counts):
            raise MissingPicturesError(f"{len(self._counts)} of those for {self.spec.name} are missing")
        if self._first is not None:
            yield from self._repeat(self._first, 1)
        if self._chunk_filled:
            yield self._batch()

    def _parse_header(self) -> None:
        match = _HEADER.match(self._start)
        if match is None:
            if len(self._start) == _LONGEST_HEADER_BYTES:
                raise ValueError(f"expected a PPM picture for {self.spec.name}, got {bytes(self._start)!r}")
            return
        self._header = match[0]
        self._size = (int(match[2]), int(match[1]))
        picture_bytes = len(self._header) + 3 * self._size[0] * self._size[1]
        self._buffer = np.empty(max(1, _READ_BYTES // picture_bytes) * picture_bytes, np.uint8)
        self._filled = len(self._start)
        self._buffer[: self._filled] = np.frombuffer(bytes(self._start), np.uint8)

    def _take_pictures(self) -> None:
        """Move complete pictures out of the buffer; an incomplete last one stays in it."""
        picture_bytes = len(self._header) + 3 * self._size[0] * self._size[1]
        count = self._filled // picture_bytes if self._header else 0
        if count == 0:
            return
        records = self._buffer[: count * picture_bytes].reshape(count, picture_bytes)
        header = np.frombuffer(self._header, np.uint8)
        if not (records[:, : len(header)] == header).all():
            raise ValueError(f"the pictures for {self.spec.name} changed size within one video")
        for record in records:
            picture = record[len(header) :].reshape(*self._size, 3).copy()
            if self.frame_count == 0 and self._first is None and not self._pictures:
                self._first = picture
            self._pictures.append(picture)
        rest = self._filled - count * picture_bytes
        self._buffer[:rest] = self._buffer[count * picture_bytes : self._filled].copy()
        self._filled = rest

    def _show(self) -> Iterator[FrameBatch]:
        while self._pictures and self._counts:
            yield from self._repeat(self._pictures.popleft(), self._counts.popleft())

    def _repeat(self, picture: NDArray[np.uint8], times: int) -> Iterator[FrameBatch]:
        if times:
            self._first = None
        while times:
            if not len(self._chunk):
                frames = chunk_frames(self.spec.frames_per_clip, picture.nbytes, self._chunk_bytes)
                self._chunk = np.empty((frames, *picture.shape), np.uint8)
            fitting = min(times, len(self._chunk) - self._chunk_filled)
            self._chunk[self._chunk_filled : self._chunk_filled + fitting] = picture
            self._chunk_filled += fitting
            self.frame_count += fitting
            times -= fitting
            if self._chunk_filled == len(self._chunk):
                yield self._batch()

    def _batch(self) -> FrameBatch:
        batch = FrameBatch(self.spec.name, self._chunk[: self._chunk_filled])
        # A new array each time: the consumer keeps the frames.
        self._chunk, self._chunk_filled = self._chunk[:0], 0
        return batch


class TimelineReader:
    """Reads the times of all decoded pictures, and tells the streams by how much to shift them."""

    def __init__(self, timeline: Timeline, streams: Sequence[FrameStream]) -> None:
        self._timeline = timeline
        self._streams = streams
        self._tick_reader = TickReader()

    def read_from(self, descriptor: int) -> Generator[FrameBatch, None, bool]:
        """Read available bytes from the pipe of times; yield completed chunks, return False at the end.

        Raises GapError if a picture is shown for longer than the limit.
        """
        shifts = []
        for tick in self._tick_reader.read_from(descriptor):
            shifts += self._timeline.push(None if tick is None or tick <= BEFORE_ALL_TICKS else tick)
        if self._tick_reader.ended:
            shifts += self._timeline.finish()
        for stream in self._streams:
            yield from stream.shift(shifts)
        return not self._tick_reader.ended
