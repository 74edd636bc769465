"""Errors of the system that are real and that root meets too."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def no_more_files() -> Iterator[None]:
    """Let this process open no further file in the block: EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def make_unreadable(path: Path) -> None:
    """Let a file open and each reading of it fail with EIO, as on a broken disk; its content is kept beside it."""
    path.rename(path.with_name(f".{path.name}.kept"))
    # Nothing is mapped at address 0 of a process's memory.
    path.symlink_to("/proc/self/mem")


def make_readable(path: Path) -> None:
    """Undo `make_unreadable`."""
    path.with_name(f".{path.name}.kept").replace(path)
