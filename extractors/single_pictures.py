"""Which video tracks of a file hold a single picture: counted by copying packets, since no description says it."""

from __future__ import annotations

import re
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
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


def single_pictures(
    path: str, streams: Sequence[int], limits: DecodeLimits, timeout_seconds: float, *, far: bool
) -> frozenset[int]:
    """Return those of the file's `streams` that hold at most one picture, as far as the choice of one depends on it.

    Reads until the first of them, which is preferred, has two: in ordinary files at once. If the time is up, what is
    known by then counts.
    """
    counts = PacketCounts(len(streams), limits.max_gap_seconds)
    process = subprocess.Popen(
        [*ffmpeg_process.command(limits.ffmpeg_memory_bytes), *_arguments(path, streams, limits, far=far)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - started with a pipe
        _read(process.stdout, counts, time.monotonic() + timeout_seconds)
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
    single = [stream for stream, count in zip(streams, counts.counts, strict=True) if count < 2]
    # A picture that was not reached may move.
    return frozenset(single) if counts.counts[0] < 2 else frozenset()


def _read(pipe: IO[bytes], counts: PacketCounts, until: float) -> None:
    partial = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while (left := until - time.monotonic()) > 0 and selector.select(left):
            data = pipe.read(_READ_BYTES)
            if not data:
                return
            *lines, partial = (partial + data).split(b"\n")
            if any(counts.read_line(line) for line in lines):
                return


def _arguments(path: str, streams: Sequence[int], limits: DecodeLimits, *, far: bool) -> list[str]:
    more: Mapping[str, int] = ffmpeg.far_probe_options() if far else {}
    source = ffmpeg.local_input(limits.max_frame_pixels, **more)
    output = ffmpeg_python.output(
        *(source[str(stream)] for stream in streams), "pipe:1", format="framecrc", codec="copy", flush_packets=1
    )
    return ["-nostdin", "-loglevel", "quiet", *ffmpeg.with_path(output.get_args(), path)]
