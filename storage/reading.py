"""Converts spans of seconds to rows, and keeps shard files open between reads."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from reeldex.storage.shard import RowTiming, ShardReader
from reeldex.storage.system_errors import FileVersion, file_version

_LARGEST_DENOMINATOR = 1_000_000


def span_rows(timing: RowTiming, start_seconds: float, end_seconds: float) -> tuple[int, int]:
    """Return (first, stop) of the rows of a span: int(s * r) up to and including int(e * r), r rows per second.

    s and e count from the time of the first row. r is the simplest fraction near 1 / seconds_per_row, so that
    16/24 seconds per row are 1.5 rows per second exactly. Clipped to the existing rows; first == stop when the
    span is beyond them. Raises ValueError for spans that are negative, inverted or not finite.
    """
    if not (math.isfinite(start_seconds) and math.isfinite(end_seconds) and 0 <= start_seconds <= end_seconds):
        raise ValueError(f"A span needs 0 <= start <= end, both finite; got {start_seconds} to {end_seconds} seconds.")
    rate = _rows_per_second(timing.seconds_per_row)
    first = int(max(0.0, start_seconds - timing.start_seconds) * rate)
    last = int(max(0.0, end_seconds - timing.start_seconds) * rate)
    if end_seconds < timing.start_seconds:
        return 0, 0
    return min(first, timing.row_count), min(last + 1, timing.row_count)


@lru_cache
def _rows_per_second(seconds_per_row: float) -> float:
    return float(Fraction(1 / seconds_per_row).limit_denominator(_LARGEST_DENOMINATOR))


class OpenShards:
    """An LRU cache of open shard files; a file replaced on disk is reopened.

    Thread-safe, and fork-safe: a child process opens its own files, also one forked while another thread reads.
    """

    def __init__(self, limit: int = 16) -> None:
        self._limit = limit
        self._guard = threading.RLock()
        self._readers: OrderedDict[Path, tuple[FileVersion | None, ShardReader]] = OrderedDict()
        # In a child process, threads that held the guard do not exist. The parent's files are not closed there:
        # both processes share their position, and the library's state of them.
        self._inherited: list[OrderedDict[Path, tuple[FileVersion | None, ShardReader]]] = []
        _ALL.add(self)

    def forget_after_fork(self) -> None:
        """Leave the files of the parent process to it; called in a child process before anything else runs."""
        self._guard = threading.RLock()
        self._inherited.append(self._readers)
        self._readers = OrderedDict()

    @contextmanager
    def reader(self, path: Path) -> Iterator[ShardReader]:
        """Yield the reader of a shard file, exclusively for this thread."""
        with self._guard:
            yield self._open(path)

    def close(self) -> None:
        """Close all files."""
        with self._guard:
            for _, reader in self._readers.values():
                reader.close()
            self._readers.clear()

    def _open(self, path: Path) -> ShardReader:
        known = self._readers.pop(path, None)
        version = file_version(path)
        if known and known[0] == version:
            self._readers[path] = known
            return known[1]
        if known:
            known[1].close()
        reader = ShardReader(path)
        self._readers[path] = (version, reader)
        if len(self._readers) > self._limit:
            _, (_, oldest) = self._readers.popitem(last=False)
            oldest.close()
        return reader


_ALL: weakref.WeakSet[OpenShards] = weakref.WeakSet()


def _after_fork() -> None:
    for each in list(_ALL):
        each.forget_after_fork()


os.register_at_fork(after_in_child=_after_fork)
