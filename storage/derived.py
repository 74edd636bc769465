"""What has been derived from the documents of a store, in the user's cache.

One row per document, valid for one version of its file: a document that was replaced is read again. The cache may be
deleted at any time, and one that is damaged, locked or cannot be written is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from reeldex.cached_files import UNUSED_SECONDS, last_used, mark_used, remove
from reeldex.errors import UserError
from reeldex.user_folders import cache_folder

log = logging.getLogger(__name__)

WORTH_CACHING = 100
"""From this number of documents on, what is derived from them is cached: fewer are read at once."""
_FORMAT = 1
"""Increased when a row means something else: rows of other formats are not read."""
_LOCK_SECONDS = 2.0
_SUFFIX = ".sqlite"


class DerivedRows:
    """Rows of bytes by kind and shard, each with the version that it was derived from.

    `documents` is the number of documents of a kind; of too few, nothing is cached.
    """

    def __init__(self, root: Path, documents: int) -> None:
        self.used = documents >= WORTH_CACHING
        self._name = hashlib.sha256(str(root.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:32]

    def read(self, kind: str) -> dict[int, tuple[str, bytes]]:
        """Return the intact rows of a kind as (version, content), by shard; none where the cache cannot be used."""
        if not self.used:
            return {}
        with _unless_unusable(), self._opened() as database:
            rows = database.execute(
                "SELECT shard, version, content, crc FROM rows WHERE kind = ? AND format = ? "
                "AND typeof(version) = 'text' AND typeof(content) = 'blob'",
                (kind, _FORMAT),
            )
            return {shard: (version, content) for shard, version, content, crc in rows if crc == _crc(version, content)}
        return {}

    def write(self, kind: str, rows: Mapping[int, tuple[str, bytes]]) -> None:
        """Add rows of a kind, or replace them; where the cache cannot be written, they are derived again next time."""
        if not self.used or not rows:
            return
        with _unless_unusable(), self._opened() as database:
            with database:
                database.executemany(
                    "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        (kind, shard, _FORMAT, version, content, _crc(version, content))
                        for shard, (version, content) in rows.items()
                    ),
                )
            _remove_unused()

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        folder = cache_folder("stores")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self._name}{_SUFFIX}"
        try:
            # Opened for each use: a connection cannot pass a fork.
            with contextlib.closing(sqlite3.connect(path, timeout=_LOCK_SECONDS)) as database:
                # Losing the cache in a power cut costs time only; what is torn then fails its checksum.
                database.execute("PRAGMA synchronous = OFF")
                database.execute(
                    "CREATE TABLE IF NOT EXISTS rows (kind TEXT, shard INTEGER, format INTEGER, version TEXT, "
                    "content BLOB, crc INTEGER, PRIMARY KEY (kind, shard))"
                )
                mark_used(path)
                yield database
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            remove(path, path.with_name(f"{path.name}-journal"))
            raise


@contextmanager
def _unless_unusable() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, UserError) as error:
        log.info("The cache of what stores contain is not used: %s", error)


def _remove_unused() -> None:
    oldest = time.time() - UNUSED_SECONDS
    remove(*(path for path in cache_folder("stores").glob(f"*{_SUFFIX}") if last_used(path) < oldest))


def _crc(version: str, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(version.encode("utf-8")))
