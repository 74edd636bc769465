"""Faults of writing that last until a person removes their cause: a full disk, a read-only one, missing permission."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from reeldex.errors import PermanentFaultError
from reeldex.quantities import data_size
from reeldex.remote_faults import RemoteError, RemoteFault, needs_user
from reeldex.storage.remote_path import RemotePath, local_side

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# What no retry heals.
LASTING = _FULL | {errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}

RESERVED_BYTES = 128 * 1024
"""What HDF5 keeps in memory of a file's structure until the file is closed, for a shard of the usual size."""


class UnwritableError(PermanentFaultError, OSError):
    """The system does not allow writing a file or folder, and will not until a person has changed something.

    `path` is the file or folder, `errno` the number of the system's error. `needed_bytes`, where known, is about the
    space that the work still needs, and `work` what needs it.
    """

    def __init__(self, path: Path, number: int, needed_bytes: float | None = None, work: str = "shard") -> None:
        self._message = f"{_what(path, number, needed_bytes, work)} {_REMEDIES[number]}"
        super().__init__(self._message)
        self.path, self.errno, self.needed_bytes, self.work = path, number, needed_bytes, work
        self.strerror, self.filename = os.strerror(number), str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return UnwritableError, (self.path, self.errno or 0, self.needed_bytes, self.work)

    def __str__(self) -> str:
        return self._message

    @property
    def is_full(self) -> bool:
        """Whether the space is used up: of the disk, or of the user's quota."""
        return self.errno in _FULL

    def about(self, folder: Path, needed_bytes: float | None = None, work: str = "shard") -> UnwritableError:
        """Return the same fault as one of the whole `folder`, which is what a person knows."""
        return UnwritableError(folder, self.errno or 0, needed_bytes, work)


class RemoteUnwritableError(UnwritableError):
    """An object store refuses a write, and will until a person has changed something. `fault` says why."""

    def __init__(self, path: Path, fault: RemoteFault) -> None:
        super().__init__(path, errno.EACCES)
        self._message = f"{path} cannot be written: {fault.why}. {fault.remedy}"
        self.fault = fault

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteUnwritableError, (self.path, self.fault)

    def about(self, folder: Path, needed_bytes: float | None = None, work: str = "shard") -> UnwritableError:  # noqa: ARG002
        """Return the same fault as one of the whole `folder`."""
        return RemoteUnwritableError(folder, self.fault)


def lasting_fault(path: Path, error: BaseException) -> UnwritableError | None:
    """Return a failed write of `path` as a lasting fault; None for any other error.

    An error that names a file elsewhere, such as one that was being read, is not one of writing `path`. Of an object
    store, the faults that last are those of `needs_user`, for writes as for reads.
    """
    if isinstance(error, RemoteError):
        return RemoteUnwritableError(path, error.fault) if needs_user(error) else None
    if isinstance(error, UnwritableError) or not isinstance(error, OSError) or error.errno not in LASTING:
        return None
    if isinstance(error.filename, str | bytes):
        named = Path(os.fsdecode(error.filename))
        if named.is_absolute() and path.parent.absolute() not in (named, *named.parents):
            return None
    return UnwritableError(path, error.errno)


def full_disk(folder: Path, needed_bytes: float, work: str = "shard") -> UnwritableError:
    """Return the fault of a disk that has too little space for what is to be written to `folder`."""
    return UnwritableError(folder, errno.ENOSPC, needed_bytes, work)


def free_bytes(path: Path) -> int | None:
    """Return the space that this user may still fill on the disk that holds `path`, which may not exist yet.

    Of a store in an object store, it is the disk for what waits to be uploaded.
    """
    path = local_side(path)
    for each in (path, *path.absolute().parents):
        try:
            found = os.statvfs(each)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        # Some network file systems do not report their size.
        return found.f_bavail * found.f_frsize if found.f_blocks else None
    return None


def refuse_if_full(path: Path, size_bytes: int) -> None:
    """Raise OSError (ENOSPC) if a disk certainly has no space for `size_bytes` more of a file that is being written."""
    free = free_bytes(path)
    if free is not None and free < size_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def require_writable(folder: Path) -> None:
    """Raise UnwritableError if entries of an existing folder may not be created; writes nothing.

    Object stores say so only when something is written.
    """
    if isinstance(folder, RemotePath):
        return
    if os.access(folder, os.W_OK | os.X_OK):
        return
    read_only = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    raise UnwritableError(folder, errno.EROFS if read_only else errno.EACCES)


def _what(path: Path, number: int, needed_bytes: float | None, work: str) -> str:
    if number == errno.EDQUOT:
        return f"The disk quota of this user is used up on the disk holding {path}{_needs(needed_bytes, work)}."
    if number == errno.ENOSPC:
        free = free_bytes(path)
        left = "" if free is None else f": {data_size(free)} free"
        return f"The disk holding {path} is full{left}{_needs(needed_bytes, work)}."
    if number == errno.EFBIG:
        return f"{path} cannot be written: it would be larger than the largest file that is allowed here."
    if number == errno.EROFS:
        return f"{path} cannot be written: its file system is read-only."
    return f"{path} cannot be written: {os.strerror(number)}."


def _needs(needed_bytes: float | None, work: str) -> str:
    return "" if needed_bytes is None else f", this {work} needs about {data_size(needed_bytes)}"


_REMEDIES = {
    errno.ENOSPC: "Free space on it, or move the data to a larger disk.",
    errno.EDQUOT: "Free space on it, or ask for a larger quota (`quota`).",
    errno.EFBIG: "Raise the limit of this process (`ulimit -f`), or use another file system.",
    errno.EROFS: "Mount it writable (`mount`; `dmesg` tells if a disk error made it read-only).",
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM),
        "Grant this user permission to write it and to enter its folders (`ls -ld`, `chmod`).",
    ),
}
