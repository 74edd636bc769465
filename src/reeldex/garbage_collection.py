"""When Python collects garbage: not during code that this would harm, and not at a program's exit."""

from __future__ import annotations

import atexit
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _CollectionOff:
    """Automatic garbage collection of this process is off while any thread is in a block of this context manager.

    It stops neither a collection that has begun nor `gc.collect()`.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._needed = 0
        self._was_on = False

    def renew(self) -> None:
        """Count anew: in a child process, the threads that needed it do not exist."""
        if self._needed and self._was_on:
            gc.enable()
        self._guard = threading.Lock()
        self._needed = 0

    def __enter__(self) -> None:
        with self._guard:
            if not self._needed:
                self._was_on = gc.isenabled()
                gc.disable()
            self._needed += 1

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._needed -= 1
            if not self._needed and self._was_on:
                gc.enable()


GARBAGE_COLLECTION_OFF = _CollectionOff()
os.register_at_fork(after_in_child=GARBAGE_COLLECTION_OFF.renew)


@contextmanager
def permanent_objects() -> Iterator[None]:
    """Turn garbage collection off while a program imports and builds what it keeps to its end.

    Without an exception, all objects that then exist are excluded from later collections (`gc.freeze`).
    """
    with GARBAGE_COLLECTION_OFF:
        yield
        gc.freeze()


def skip_garbage_collection_at_exit() -> None:
    """Let this process exit without garbage collection: 0.4 s less once it has imported PyTorch or Prefect.

    For programs of ours, as early as possible: exit handlers that are registered later run before. Objects without
    references are finalized as ever; those in a cycle, and what they alone refer to, are not: close files explicitly.
    A process that holds objects of nanobind exits as Python does.
    """
    atexit.register(_freeze_unless_nanobind_reports_leaks)


def _freeze_unless_nanobind_reports_leaks() -> None:
    # Libraries made with nanobind, such as triton, write to standard error which of their objects are left at exit.
    if not any(getattr(kind, "__module__", "") == "nanobind" for kind in type.__subclasses__(type)):
        gc.freeze()
