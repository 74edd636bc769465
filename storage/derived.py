"""What has been derived from the documents of a store, in the user's cache.

One row per document, valid for one version of its file: a document that was replaced is read again. The cache may be
deleted at any time, and one that is damaged, locked or cannot be written is not used.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from reeldex.cached_files import UNUSED_SECONDS, last_used, mark_used, remove
from reeldex.errors import UserError
from reeldex.user_folders import cache_folder

log = logging.getLogger(__name__)

WORTH_CACHING = 100
"""From this number of documents on, what is derived from them is cached: fewer are read at once."""
_FORMAT = 1
"""Increased when the same fields mean something else: rows of other formats are not read."""
_LOCK_SECONDS = 2.0
_SUFFIX = ".sqlite"


@dataclass(frozen=True)
class RowKind:
    """A kind of rows; `form` is the form of their content, such as `form_of` its model: others are not read."""

    name: str
    form: str = ""

    @property
    def format(self) -> int:
        """A number for the form and the meaning of the rows."""
        return zlib.crc32(f"{_FORMAT} {self.form}".encode())


def form_of(model: type[Any]) -> str:
    """Return the fields of a dataclass with their types, and those of the dataclasses in them."""
    hints = get_type_hints(model)
    fields = ", ".join(f"{field.name}: {field.type}" for field in dataclasses.fields(model))
    return "\n".join([f"{model.__name__}({fields})", *map(form_of, _dataclasses_in(hints.values()))])


def _dataclasses_in(hints: Iterable[Any]) -> Iterator[type[Any]]:
    for hint in hints:
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield hint
        yield from _dataclasses_in(get_args(hint))


class DerivedRows:
    """Rows of bytes by kind and shard, each with the version that it was derived from.

    `documents` is the number of documents of a kind; of too few, nothing is cached.
    """

    def __init__(self, root: Path, documents: int) -> None:
        self.used = documents >= WORTH_CACHING
        self._name = hashlib.sha256(str(root.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:32]

    def read(self, kind: RowKind) -> dict[int, tuple[str, bytes]]:
        """Return the intact rows of a kind as (version, content), by shard; none where the cache cannot be used."""
        if not self.used:
            return {}
        with _unless_unusable(), self._opened() as database:
            rows = database.execute(
                "SELECT shard, version, content, crc FROM rows WHERE kind = ? AND format = ? "
                "AND typeof(version) = 'text' AND typeof(content) = 'blob'",
                (kind.name, kind.format),
            )
            return {shard: (version, content) for shard, version, content, crc in rows if crc == _crc(version, content)}
        return {}

    def write(self, kind: RowKind, rows: Mapping[int, tuple[str, bytes]]) -> None:
        """Add rows of a kind, or replace them; where the cache cannot be written, they are derived again next time."""
        if not self.used or not rows:
            return
        with _unless_unusable(), self._opened() as database:
            with database:
                database.executemany(
                    "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        (kind.name, shard, kind.format, version, content, _crc(version, content))
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
