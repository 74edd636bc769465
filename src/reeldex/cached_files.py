"""Caches on disk: what appears in one is complete, and what is no longer used is removed.

Several processes may use a cache at the same time. A file or folder gets its final name only when it is complete, and
loses it before it is deleted, so another process finds all of it or nothing, and then makes it again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

_DAY_SECONDS = 86_400.0
UNUSED_SECONDS = 30 * _DAY_SECONDS
"""Cached files are removed once they have not been used for this time: 30 days."""
ABANDONED_SECONDS = _DAY_SECONDS
"""Temporary files are removed once nothing has been written to them for this time: a day. Their writer was killed."""
# PyTorch names its own downloads in the same way.
_TEMPORARY = re.compile(r".+\.[0-9a-f]{32}\.partial")


@contextmanager
def published(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` for a file or folder, which gets the name `path` when the block ends.

    A file replaces an earlier one; a folder of that name must be absent or empty. The parent folder is created. When
    the block raises, nothing is left. Temporary files that killed processes left beside it are removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path.parent)
    temporary = _temporary(path)
    try:
        yield temporary
        if temporary.is_file():
            _fsync(temporary)
        temporary.replace(path)
    finally:
        _delete(temporary)  # unless it has been renamed, or was never created


def publish_text(path: Path, text: str) -> None:
    """Publish a UTF-8 text file."""
    with published(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def mark_used(path: Path) -> None:
    """Record that a cached file is used now, by its time of modification."""
    with contextlib.suppress(OSError):  # a cache that only others may write is theirs to clean up
        os.utime(path)


def last_used(path: Path) -> float:
    """Return when a cached file was last used, in seconds since the epoch; infinity for one that cannot be read."""
    try:
        return path.stat().st_mtime
    except OSError:
        return float("inf")


def remove(*paths: Path) -> None:
    """Remove files or folders of a cache, also while other processes use them. What cannot be removed is logged."""
    for path in paths:
        doomed = _temporary(path)
        try:
            path.replace(doomed)
        except FileNotFoundError:
            continue  # another process was faster
        except OSError as error:
            log.info("%s, which is no longer used, cannot be removed: %s", path, error)
            continue
        _delete(doomed)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a cache folder, those of PyTorch's downloads too."""
    with contextlib.suppress(OSError):  # absent, or not readable: then it cannot be written either
        oldest = time.time() - ABANDONED_SECONDS
        for path in list(folder.iterdir()):
            if _TEMPORARY.fullmatch(path.name) and _last_written(path) < oldest:
                _delete(path)


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")


def _last_written(path: Path) -> float:
    return max((last_used(each) for each in (path, *path.rglob("*"))), default=float("inf"))


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):  # absent; or it is removed as abandoned later
            path.unlink()


def _fsync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
