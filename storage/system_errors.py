"""Distinguishes system errors from damage: a file that cannot be read is not known to be damaged."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reeldex.remote_faults import RemoteError
from reeldex.storage.errors import StoreUnreadableError
from reeldex.storage.remote_path import RemotePath

# Errors of a system call whose arguments came from a damaged file; all others are system errors.
ASKED_WRONGLY = frozenset({errno.EINVAL, errno.EFAULT, errno.EOVERFLOW, errno.EFBIG, errno.ENOENT})

_CHUNK_BYTES = 1 << 20
_PERMISSIONS = "Grant this user permission to read it and to enter its folders (`ls -ld`, `chmod`)."
_FILES = "Close files that this process has open, or raise its limit (`ulimit -n`)."
_MEMORY = "Free memory, or use a machine with more of it."
_LOCKED = (
    "Close the HDF5 handle or the process that holds it, or set HDF5_USE_FILE_LOCKING=FALSE: published files are never "
    "written again, so reading them needs no lock."
)
_DEVICE = "Check the disk or network share it is on (`dmesg`, `mount`)."
_SPACE = "Free space on the disks of the store, of caches and of temporary files, or raise their limits."
_READ_ONLY = "Mount the file system writable (`mount`; `dmesg` tells if a disk error made it read-only)."
_KIND = "Move away what is at this path, or correct the path."
_LINK = "A symbolic link on its path has no target: mount its disk, or correct the link."
_ANY = "Remove the cause, and run the command again."

_REMEDIES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), _PERMISSIONS),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _FILES),
    errno.ENOMEM: _MEMORY,
    **dict.fromkeys((errno.EAGAIN, errno.EDEADLK, errno.ENOLCK), _LOCKED),
    **dict.fromkeys(
        (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENXIO, errno.ENODEV, errno.ENOTCONN, errno.EHOSTDOWN), _DEVICE
    ),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _SPACE),
    errno.EROFS: _READ_ONLY,
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR), _KIND),
    **dict.fromkeys((errno.ENOENT, errno.ELOOP), _LINK),
}

FileVersion = tuple[int, int, int]
"""Inode, size in bytes, and time of modification in nanoseconds."""


@dataclass(frozen=True)
class Unreadable:
    """A file or folder below the store that the system does not allow reading: why, and what to do."""

    file: str
    why: str
    remedy: str

    @classmethod
    def of(cls, root: Path, error: StoreUnreadableError) -> Unreadable:
        """Return an error as a value, with the path relative to the store."""
        path = error.path
        return cls(
            path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path), error.why, error.remedy
        )


def remedy_for(error: OSError) -> str:
    """Return the remedy for a system error, as a sentence."""
    return error.fault.remedy if isinstance(error, RemoteError) else _REMEDIES.get(error.errno or 0, _ANY)


def reason(error: OSError) -> str:
    """Return the system's message for an error, such as "Permission denied"."""
    if isinstance(error, RemoteError):
        return error.fault.why
    return os.strerror(error.errno) if error.errno else str(error)


def refused_by_system(error: BaseException) -> str | None:
    """Return why a file could not be read, and what to do, if a system call failed; None if the file is at fault."""
    if not isinstance(error, OSError) or error.errno is None or error.errno in ASKED_WRONGLY:
        return None
    return f"{reason(error)}. {remedy_for(error)} It is not known to be damaged."


def unreadable(path: Path, error: OSError) -> StoreUnreadableError:
    """Return the error for a file or folder that the system does not allow reading."""
    return StoreUnreadableError(path, reason(error), remedy_for(error), error.errno)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn OSErrors of the block into StoreUnreadableError for `path`.

    FileNotFoundError passes: an absent file is not a system error, unless a symbolic link on its path has no
    target, as when a disk is not mounted.
    """
    try:
        yield
    except FileNotFoundError as error:
        if not _dangling(path):
            raise
        raise unreadable(path, error) from error
    except OSError as error:
        raise unreadable(path, error) from error


def look_at(path: Path) -> os.stat_result | None:
    """Return the status of a file or folder, None when it is absent; raises StoreUnreadableError."""
    try:
        with reading(path):
            return path.stat()
    except FileNotFoundError:
        return None


def file_version(path: Path) -> FileVersion | None:
    """Return what changes when a file is replaced or written; None when it is absent. Raises StoreUnreadableError."""
    status = look_at(path)
    return None if status is None else (status.st_ino, status.st_size, status.st_mtime_ns)


def file_versions(folder: Path) -> dict[str, FileVersion]:
    """Return `file_version` of all that a folder contains, by name; empty when it is absent.

    Raises StoreUnreadableError.
    """
    found = {}
    if isinstance(folder, RemotePath):
        versions = ((path.name, file_version(path)) for path in list_folder(folder))
        return {name: version for name, version in versions if version is not None}
    try:
        with reading(folder), os.scandir(folder) as entries:
            for entry in entries:
                if (version := file_version(Path(entry.path))) is not None:
                    found[entry.name] = version
    except FileNotFoundError:
        return {}
    return found


def is_folder(path: Path) -> bool:
    """Return whether the path is an existing folder; raises StoreUnreadableError where that cannot be read."""
    status = look_at(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def list_folder(folder: Path) -> list[Path]:
    """Return the content of a folder, sorted; empty when it is absent. Raises StoreUnreadableError.

    Unlike `Path.glob`, which ignores a folder that cannot be read.
    """
    try:
        with reading(folder):
            return [folder / name for name in sorted(entry.name for entry in folder.iterdir())]
    except FileNotFoundError:
        return []


def all_below(folder: Path) -> Iterator[Path]:
    """Yield all files and folders below a folder, each folder's content sorted; raises StoreUnreadableError."""
    for path in list_folder(folder):
        yield path
        if not path.is_symlink() and is_folder(path):
            yield from all_below(path)


def require_readable(path: Path) -> None:
    """Raise StoreUnreadableError unless a file can be opened and its first byte read; FileNotFoundError if absent."""
    readable_size(path)


def readable_size(path: Path) -> int:
    """Return the size in bytes of a file that can be opened and its first byte read; raises as `require_readable`.

    In an object store it is only looked at: who may list a file there may read it, unless it is archived.
    """
    with reading(path):
        if isinstance(path, RemotePath):
            return path.stat().st_size
        with path.open("rb", buffering=0) as file:
            file.read(1)
            return os.fstat(file.fileno()).st_size


def reading_error(path: Path) -> OSError | None:
    """Return the system error that reading all of a file causes, None when every byte can be read."""
    try:
        with path.open("rb", buffering=0) as file:
            while file.read(_CHUNK_BYTES):
                pass
    except OSError as error:
        return error
    return None


def _dangling(path: Path) -> bool:
    with contextlib.suppress(OSError):
        if not path.is_symlink() and path.parent.exists():
            # Merely absent, as most often.
            return False
    for each in (path, *path.absolute().parents):
        # A folder that may not be entered shows nothing.
        with contextlib.suppress(OSError):
            if each.is_symlink() and not each.exists():
                return True
    return False
