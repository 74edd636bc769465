"""The folder of fetched videos: one subfolder per worker and shard, bounded in bytes, gone with its owner."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from reeldex.flows.fetching.faults import FetchStoppedError
from reeldex.remote_urls import RemoteUrl
from reeldex.storage.write_errors import lasting_fault
from reeldex.user_folders import cache_folder

log = logging.getLogger(__name__)

_PREFIX = "fetched-"
_LOCK = ".in-use"
_UNLOCKED_SECONDS = 600.0
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,10}")


class CacheFolder:
    """A new subfolder of the cache, whose lock says that it is in use; those of killed owners are removed first.

    Raises UnwritableError where the cache cannot be written.
    """

    def __init__(self, root: Path | None) -> None:
        self.root = cache_folder("videos") if root is None else root.expanduser().absolute()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.root)
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self.root))
            self._lock = FileLock(self.path / _LOCK)
            self._lock.acquire()
        except OSError as error:
            raise (lasting_fault(self.root / _LOCK, error) or error) from error

    def file(self, number: int, url: str) -> Path:
        """Return the file for a video; it keeps the ending of the video's name, which helps to tell its format."""
        # The name of an object may contain a question mark; that of a file of the web ends there.
        name = re.split(r"[?#]", url, maxsplit=1)[0] if RemoteUrl.parse(url).is_web else url
        ending = Path(name).suffix
        return self.path / f"{number:06d}{ending if _ENDING.fullmatch(ending) else ''}"

    def remove(self) -> None:
        """Remove the subfolder with all that is in it."""
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def remove_leftovers(root: Path) -> None:
    """Remove the subfolders that nobody uses: their owners were killed."""
    for folder in sorted(root.glob(f"{_PREFIX}*")):
        # Its owner removes it meanwhile, or another run does.
        with suppress(OSError, Timeout):
            if not (folder / _LOCK).exists():
                # Unless its owner was killed just then, it is about to lock it.
                if time.time() - folder.stat().st_mtime > _UNLOCKED_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            with FileLock(folder / _LOCK, timeout=0):
                log.info("Removing the videos of a run that was killed: %s", folder)
                shutil.rmtree(folder, ignore_errors=True)


class ByteBudget:
    """Bytes that may be taken, each time in turn: a large request is not overtaken for ever by small ones."""

    def __init__(self, most_bytes: int) -> None:
        self._free = most_bytes
        self._changed = threading.Condition()
        self._turn = threading.Lock()
        self._closed = False

    def take(self, count: int) -> None:
        """Wait until so many bytes are free, and take them. Raises FetchStoppedError once the budget is closed."""
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._closed or self._free >= count)
            if self._closed:
                raise FetchStoppedError("closed")
            self._free -= count

    def give_back(self, count: int) -> None:
        """Free bytes that were taken."""
        with self._changed:
            self._free += count
            self._changed.notify_all()

    def close(self) -> None:
        """Wake up all that wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
