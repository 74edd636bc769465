"""What only a file's packets say: which video tracks hold a single picture, and how late a picture begins.

ffmpeg copies the packets, which costs little, and is stopped as soon as enough is known.
"""

from __future__ import annotations

import re
import selectors
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import IO

import ffmpeg as ffmpeg_python

from reeldex.extractors import ffmpeg, ffmpeg_process
from reeldex.extractors.options import DecodeLimits

# A packet in ffmpeg's format `framecrc`: output stream, decoding and presentation time in ticks, ...
_PACKET = re.compile(rb"^(\d+), +(-?\d+|NOPTS),")
_TIME_BASE = re.compile(rb"^#tb (\d+): (\d+)/(\d+)")
_READ_BYTES = 64 * 1024


class PacketCounts:
    """Counts the packets of streams until it is known which is the first with two; reads lines of `framecrc`.

    A stream counts as a single picture if there is none after it for `max_gap_seconds` of another stream.
    """

    def __init__(self, streams: int, max_gap_seconds: float) -> None:
        self.counts = [0] * streams
        self._max_gap_seconds = max_gap_seconds
        self._seconds_per_tick = [0.0] * streams
        self._first: list[float | None] = [None] * streams

    def read_line(self, line: bytes) -> bool:
        """Take a line; return whether enough is known."""
        if base := _TIME_BASE.match(line):
            self._seconds_per_tick[int(base[1])] = int(base[2]) / int(base[3])
            return False
        packet = _PACKET.match(line)
        if packet is None:
            return False
        stream = int(packet[1])
        self.counts[stream] += 1
        if self.counts[0] > 1:
            return True
        if packet[2] == b"NOPTS":
            return False
        seconds = int(packet[2]) * self._seconds_per_tick[stream]
        first = self._first[stream]
        if first is None:
            self._first[stream] = seconds
            return False
        return seconds - first > self._max_gap_seconds


class FirstPacket:
    """Finds the time of the first packet of the first output stream; reads lines of `framecrc`."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._seconds_per_tick = 0.0

    def read_line(self, line: bytes) -> bool:
        """Take a line; return whether the packet was there."""
        if (base := _TIME_BASE.match(line)) and base[1] == b"0":
            self._seconds_per_tick = int(base[2]) / int(base[3])
        packet = _PACKET.match(line)
        if packet is None or packet[1] != b"0":
            return False
        if packet[2] != b"NOPTS":
            self.seconds = int(packet[2]) * self._seconds_per_tick
        return True


def single_pictures(
    path: str, streams: Sequence[int], limits: DecodeLimits, timeout_seconds: float, *, far: bool
) -> frozenset[int]:
    """Return those of the file's `streams` that hold at most one picture, as far as the choice of one depends on it.

    Reads until the first of them, which is preferred, has two: in ordinary files at once. If the time is up, what is
    known by then counts.
    """
    counts = PacketCounts(len(streams), limits.max_gap_seconds)
    _copy(path, [str(stream) for stream in streams], limits, timeout_seconds, counts.read_line, far=far)
    single = [stream for stream, count in zip(streams, counts.counts, strict=True) if count < 2]
    # A picture that was not reached may move.
    return frozenset(single) if counts.counts[0] < 2 else frozenset()


def first_packet_seconds(
    path: str, stream: int, limits: DecodeLimits, timeout_seconds: float, *, far: bool
) -> float | None:
    """Return when a stream begins, in seconds after the file's start; None if that is not found out in time."""
    first = FirstPacket()
    _copy(path, [str(stream), "a?"], limits, timeout_seconds, first.read_line, far=far)
    return first.seconds


def _copy(  # noqa: PLR0913 - private
    path: str,
    streams: Sequence[str],
    limits: DecodeLimits,
    timeout_seconds: float,
    read_line: Callable[[bytes], bool],
    *,
    far: bool,
) -> None:
    """Copy streams of a file, and pass on what is said of each packet until `read_line` returns True."""
    source = ffmpeg.local_input(limits.max_frame_pixels, **(ffmpeg.far_probe_options() if far else {}))
    output = ffmpeg_python.output(
        *(source[stream] for stream in streams), "pipe:1", format="framecrc", codec="copy", flush_packets=1
    )
    arguments = ["-nostdin", "-loglevel", "quiet", *ffmpeg.with_path(output.get_args(), path)]
    process = subprocess.Popen(
        [*ffmpeg_process.command(limits.ffmpeg_memory_bytes), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - started with a pipe
        _read(process.stdout, read_line, time.monotonic() + timeout_seconds)
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def _read(pipe: IO[bytes], read_line: Callable[[bytes], bool], until: float) -> None:
    partial = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while (left := until - time.monotonic()) > 0 and selector.select(left):
            data = pipe.read(_READ_BYTES)
            if not data:
                return
            *lines, partial = (partial + data).split(b"\n")
            if any(read_line(line) for line in lines):
                return
