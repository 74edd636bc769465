"""Where the time of an extraction goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


class _IdleShare:
    """The seconds of which decoders had no file, each weighted with their share of all decoders at that moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle = self._busy = 0
        self._seconds = 0.0
        self._at = time.monotonic()

    def change(self, idle: int = 0, busy: int = 0) -> None:
        with self._lock:
            self._advance()
            self._idle += idle
            self._busy += busy

    def seconds(self) -> float:
        with self._lock:
            self._advance()
            return self._seconds

    def _advance(self) -> None:
        now = time.monotonic()
        if self._idle:
            self._seconds += (now - self._at) * self._idle / (self._idle + self._busy)
        self._at = now


@dataclass
class WorkTimes:
    """Time spent by the engine, up to now.

    `device_seconds` and `waiting_seconds`: waiting for the networks, and for decoded frames; of the latter
    `fetching_seconds` because decoders had no file yet. `decode_seconds`: work of the decoders, summed over those in
    parallel. `queue_depth`: decoded chunks that now wait for the networks.
    """

    device_seconds: float = 0.0
    waiting_seconds: float = 0.0
    decode_seconds: float = 0.0
    queue_depth: int = 0
    fetching_seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    _idle: _IdleShare = field(default_factory=_IdleShare, repr=False, compare=False)

    @contextmanager
    def decoding_work(self) -> Iterator[None]:
        """Count the time of the block as work of a decoder; decoders may be several threads."""
        started = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self.decode_seconds += time.monotonic() - started

    def decoding(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items of a decoder, and count the time of waiting for each."""
        iterator = iter(items)
        while True:
            with self.decoding_work():
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of the block as waiting for frames, and of it the share of decoders that have no file."""
        started, idle = time.monotonic(), self._idle.seconds()
        try:
            yield
        finally:
            self.waiting_seconds += time.monotonic() - started
            self.fetching_seconds += self._idle.seconds() - idle

    @contextmanager
    def without_file(self) -> Iterator[None]:
        """Count a decoder as one that has no file yet, during the block."""
        self._idle.change(idle=1)
        try:
            yield
        finally:
            self._idle.change(idle=-1)

    @contextmanager
    def with_file(self) -> Iterator[None]:
        """Count a decoder as one that has a file to decode, during the block."""
        self._idle.change(busy=1)
        try:
            yield
        finally:
            self._idle.change(busy=-1)
