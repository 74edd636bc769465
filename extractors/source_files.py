"""Where decoders get the files of their videos from: this machine, or something that brings them here ahead of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class ReadyFile:
    """File `number` of a run is at `path` on this machine; or there is an error instead."""

    number: int
    path: str = ""
    error: Exception | None = None

    def __post_init__(self) -> None:
        if bool(self.path) == (self.error is not None):
            raise ValueError(f"file {self.number} has either a path or an error: {self.path!r}, {self.error!r}")


class SourceFiles(Protocol):
    """Hands out the files of a run, each once, in the order in which they become ready. Its methods are thread-safe."""

    def start(self, paths: Sequence[str]) -> None:
        """Begin to provide the files of these paths, which are numbered from 0."""

    def next_ready(self) -> ReadyFile | None:
        """Wait for the next file; return None when all have been handed out, or after `close`."""

    def another_ready(self, accept: Callable[[str], bool]) -> ReadyFile | None:
        """Return the next file if one is ready now, and `accept(path)`; otherwise None, and it stays the next."""

    def release(self, number: int) -> None:
        """Give back a file that was handed out: it is not read any more."""

    def close(self) -> None:
        """End the waiting, and give up what has not been handed out."""


class LocalFiles:
    """Files of this machine, ready at once and in order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: Sequence[str] = ()
        self._next = 0

    def start(self, paths: Sequence[str]) -> None:
        """Begin to provide these files."""
        self._paths, self._next = paths, 0

    def next_ready(self) -> ReadyFile | None:
        """Return the next file; None after the last one."""
        with self._lock:
            if self._next >= len(self._paths):
                return None
            self._next += 1
            return ReadyFile(self._next - 1, self._paths[self._next - 1])

    def another_ready(self, accept: Callable[[str], bool]) -> ReadyFile | None:
        """Return the next file if its path is accepted."""
        with self._lock:
            if self._next >= len(self._paths) or not accept(self._paths[self._next]):
                return None
            self._next += 1
            return ReadyFile(self._next - 1, self._paths[self._next - 1])

    def release(self, number: int) -> None:
        """Do nothing: the file is the user's."""

    def close(self) -> None:
        """Hand out nothing more."""
        with self._lock:
            self._next = len(self._paths)
