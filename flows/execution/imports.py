"""Imports of large libraries at the start of a process."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Do not look for garbage in the block, which imports modules.

    Python looks each time that 700 more objects exist. Modules are hundreds of thousands of them and leave no garbage,
    so that the search takes a tenth of the time of importing PyTorch, and a fifth of that of Prefect and its server.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
