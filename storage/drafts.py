"""Files of this machine that are written before they are uploaded to an object store."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reeldex.cached_files import ABANDONED_SECONDS, last_used
from reeldex.storage.lease_owner import this_machine
from reeldex.storage.process_id import is_alive, own_process
from reeldex.user_folders import cache_folder, make_writable


@contextmanager
def new_draft() -> Iterator[Path]:
    """Yield the path of a file on this machine, to be written and uploaded; it is removed when the block ends."""
    folder = make_writable(_drafts(), "XDG_CACHE_HOME")
    path = folder / f"{_machine()}-{own_process()}-{uuid.uuid4().hex}"
    try:
        yield path
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def remove_dead_drafts() -> None:
    """Remove the drafts of processes that were killed, of other machines that share the folder after a day."""
    folder = _drafts()
    for path in folder.iterdir() if folder.is_dir() else ():
        machine, _, process = path.name.rpartition("-")[0].partition("-")
        dead = not is_alive(process) if machine == _machine() else last_used(path) < time.time() - ABANDONED_SECONDS
        if dead:
            with suppress(OSError):
                path.unlink()


def _drafts() -> Path:
    return cache_folder("stores") / "drafts"


def _machine() -> str:
    return hashlib.sha256(this_machine().encode()).hexdigest()[:12]
