"""An LRU cache of reproducible files in a folder, limited in bytes."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from reeldex.storage.atomic import is_leftover, publish

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)
_OURS = re.compile(r"[0-9a-f]{64}\.cached")


class DiskCache:
    """Bytes by key, safe to use from several threads. Other files of the folder are neither counted nor touched."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        for entry in folder.iterdir():
            if is_leftover(entry.name):
                entry.unlink(missing_ok=True)
        found = [
            (entry.stat(), entry.name) for entry in folder.iterdir() if _OURS.fullmatch(entry.name) and entry.is_file()
        ]
        found.sort(key=lambda each: each[0].st_mtime_ns)
        self._sizes = OrderedDict((name, status.st_size) for status, name in found)
        self._bytes = sum(self._sizes.values())
        with self._lock:
            self._make_room()

    def get(self, key: str) -> bytes | None:
        """Return the content of a key, None if it is not cached."""
        name = _file_name(key)
        try:
            content = (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("The page's cache %s cannot be read (%s): its content is created again.", self._folder, error)
            return None
        with self._lock:
            if name in self._sizes:
                self._sizes.move_to_end(name)
        return content

    def put(self, key: str, content: bytes) -> None:
        """Store `content`; a disk error is logged, and the content is created again next time."""
        name = _file_name(key)
        try:
            with publish(self._folder / name) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            log.warning(
                "The page's cache %s cannot be written (%s): pictures are created again each time.", self._folder, error
            )
            return
        with self._lock:
            self._bytes += len(content) - self._sizes.pop(name, 0)
            self._sizes[name] = len(content)
            self._make_room()

    def _make_room(self) -> None:
        while self._bytes > self._most_bytes and self._sizes:
            name, size = self._sizes.popitem(last=False)
            (self._folder / name).unlink(missing_ok=True)
            self._bytes -= size


def _file_name(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest() + ".cached"
