"""SHA-256 of files, computed once per process for a file that has not changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

FileIdentity = tuple[int, int, int, int, int]
"""Device, inode, size in bytes, and the times of modification and of change (which no program can set back), in ns."""

_known: dict[FileIdentity, str] = {}


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; cached while the file is unchanged."""
    with path.open("rb") as file:
        identity = _identity(file.fileno())
        if identity not in _known:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            if _identity(file.fileno()) != identity:
                return found  # modified meanwhile
            _known[identity] = found
        return _known[identity]


def known_hashes() -> dict[FileIdentity, str]:
    """Return all computed hashes, for another process of this machine."""
    return dict(_known)


def remember_hashes(hashes: Mapping[FileIdentity, str]) -> None:
    """Use hashes that another process of this machine has computed."""
    _known.update(hashes)


def _identity(descriptor: int) -> FileIdentity:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
