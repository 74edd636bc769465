"""Where the time of an extraction goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass
class WorkTimes:
    """Time spent by the engine, up to now.

    `device_seconds` and `waiting_seconds`: waiting for the networks, and for decoded frames. `decode_seconds`: work of
    the decoders, summed over those in parallel. `queue_depth`: decoded chunks that now wait for the networks.
    """

    device_seconds: float = 0.0
    waiting_seconds: float = 0.0
    decode_seconds: float = 0.0
    queue_depth: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

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
