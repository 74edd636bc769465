"""Switches automatic garbage collection off for code during which a collection in another thread would do harm."""

from __future__ import annotations

import gc
import os
import threading


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
