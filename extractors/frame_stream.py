"""Bytes of one ffmpeg pipe into chunks of frames.

ffmpeg writes each frame as a binary PPM: three lines of header (P6, width and height, 255), then RGB bytes. The
stream thus says itself how large its frames are, whatever rotation or odd size the file has.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import numpy as np

from extractors.clips import chunk_frames
from extractors.frames import FrameBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from extractors.spec import ExtractorSpec

_HEADER = re.compile(rb"P6\n(\d+) (\d+)\n255\n")
_LONGEST_HEADER_BYTES = 32


class FrameStream:
    """Reads one pipe whose frames are all of one size; the first frame is dropped if a second one follows.

    That first frame is the video's opening picture, there for videos too short to be sampled.
    """

    def __init__(self, spec: ExtractorSpec, chunk_bytes: int) -> None:
        self.spec = spec
        self.ended = False
        self.frame_count = 0  # frames handed on, the opening one only if it is alone
        self._chunk_bytes = chunk_bytes
        self._header = b""
        self._size = (0, 0)  # height, width
        self._start = bytearray()  # what came before the first header was whole
        self._buffer: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._filled = 0
        self._opening_seen = False

    def read_from(self, descriptor: int) -> FrameBatch | None:
        """Read what is there from a pipe that is ready; return a chunk when one is full or the pipe has ended.

        Raises ValueError if the bytes are not frames of one size.
        """
        if not self._header:
            data = os.read(descriptor, _LONGEST_HEADER_BYTES - len(self._start))
            self._start += data
            self._parse_header()
            count = len(data)
        else:
            count = os.readv(descriptor, [self._buffer.data[self._filled :]])
            self._filled += count
        self.ended = count == 0
        if self.ended or (self._header and self._filled == len(self._buffer)):
            return self._take()
        return None

    def _parse_header(self) -> None:
        match = _HEADER.match(self._start)
        if match is None:
            if len(self._start) == _LONGEST_HEADER_BYTES:
                raise ValueError(f"expected a PPM frame for {self.spec.name}, got {bytes(self._start)!r}")
            return
        self._header = match[0]
        self._size = (int(match[2]), int(match[1]))
        self._new_buffer()
        self._filled = len(self._start)
        self._buffer[: self._filled] = np.frombuffer(bytes(self._start), np.uint8)

    def _new_buffer(self) -> None:
        frame_bytes = len(self._header) + 3 * self._size[0] * self._size[1]
        frames = chunk_frames(self.spec.frames_per_clip, frame_bytes, self._chunk_bytes)
        if not self._opening_seen:
            frames += 1  # so that whole clips remain once the opening frame is dropped
        self._buffer = np.empty(frames * frame_bytes, np.uint8)
        self._filled = 0

    def _take(self) -> FrameBatch | None:
        """Turn the filled part of the buffer into a FrameBatch; an unfinished last frame is left out."""
        frame_bytes = len(self._header) + 3 * self._size[0] * self._size[1]
        count = self._filled // frame_bytes if self._header else 0
        if count == 0:
            return None
        records = self._buffer[: count * frame_bytes].reshape(count, frame_bytes)
        header = np.frombuffer(self._header, np.uint8)
        if not (records[:, : len(header)] == header).all():
            raise ValueError(f"the frames for {self.spec.name} changed size within one video")
        # A copy of its own, without headers, so that the buffer can go.
        frames = np.ascontiguousarray(records[:, len(header) :]).reshape(count, *self._size, 3)
        # A full first buffer holds two frames or more, so an opening frame alone is all there will be.
        if not self._opening_seen and count > 1:
            frames = frames[1:]
        self._opening_seen = True
        self._new_buffer()
        return self._batch(frames)

    def _batch(self, frames: NDArray[np.uint8]) -> FrameBatch:
        self.frame_count += len(frames)
        return FrameBatch(self.spec.name, frames)
