"""When the cyclic garbage collector of Python runs: not during code that it would harm, and not at a program's exit."""

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
    """Let a program import and build what it keeps to its end: nothing is collected meanwhile, or among that later."""
    with GARBAGE_COLLECTION_OFF:
        yield
    gc.freeze()


def skip_garbage_collection_at_exit() -> None:
    """Let this process exit without a search for garbage: 0.4 s less once it has imported PyTorch or Prefect.

    For programs of ours, at their start, so that all other exit handlers still run before. Objects that nothing refers
    to are destroyed as ever; those that refer to each other in a cycle end with the process, without `__del__`.
    """
    atexit.register(_freeze_unless_it_is_noticed)


def _freeze_unless_it_is_noticed() -> None:
    # Libraries made with nanobind, such as triton, write to standard error which of their objects are left at exit.
    if not any(kind.__module__ == "nanobind" for kind in type.__subclasses__(type)):
        gc.freeze()
