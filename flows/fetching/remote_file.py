"""What a service says of a file, without reading it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_NS = 1_000_000_000
_SIZE_NAMES = ("size", "Size", "ContentLength")
_TAG_NAMES = ("ETag", "etag", "md5Hash")
_TIME_NAMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")


@dataclass(frozen=True)
class RemoteFile:
    """A file's size in bytes, the service's tag of its content, and the time of its last change; None if unknown.

    Raises ValueError for a negative size.
    """

    size_bytes: int | None = None
    tag: str | None = None
    modified_ns: int | None = None

    def __post_init__(self) -> None:
        if self.size_bytes is not None and self.size_bytes < 0:
            raise ValueError(f"the size of a file is negative: {self.size_bytes}")

    @property
    def version(self) -> int:
        """A number that changes with the content: of the tag if there is one, else the time of the last change, else 0.

        A manifest records it in the place of a modification time. A copy of an object keeps its tag, so that a moved
        one is recognised.
        """
        if self.tag:
            return int.from_bytes(hashlib.sha256(self.tag.encode()).digest()[:8]) >> 1
        return self.modified_ns or 0

    @property
    def has_version(self) -> bool:
        """Whether two states of the file can be told apart by more than their size."""
        return bool(self.tag) or self.modified_ns is not None

    def same_content(self, other: RemoteFile) -> bool:
        """Whether nothing says that the content of both differs."""
        if None not in (self.size_bytes, other.size_bytes) and self.size_bytes != other.size_bytes:
            return False
        return self.version == other.version

    @classmethod
    def from_listing(cls, entry: Mapping[str, Any]) -> RemoteFile:
        """Return what fsspec's file systems say of a file; each has names of its own."""
        size = next((entry[name] for name in _SIZE_NAMES if entry.get(name) is not None), None)
        tag = next((str(entry[name]) for name in _TAG_NAMES if entry.get(name)), None)
        changed = next((entry[name] for name in _TIME_NAMES if entry.get(name) is not None), None)
        return cls(None if size is None else int(size), plain_tag(tag), _nanoseconds(changed))


def plain_tag(tag: str | None) -> str | None:
    """Return an entity tag without the quotes and the mark of a weak one."""
    return (tag.strip().removeprefix("W/").strip('"') or None) if tag else None


def _nanoseconds(value: object) -> int | None:
    """Return a time of a listing in nanoseconds, whole seconds: a request for one file often states no more."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return int(value) * _NS if isinstance(value, int | float) else None
