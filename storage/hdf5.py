"""Opening HDF5 files to read them, and telling errors of the system from damage of the file."""

import errno
import os
import re
from pathlib import Path

import h5py

from reeldex.storage.system_errors import ASKED_WRONGLY, look_at, reading_error, unreadable

# What h5py raises, depending on where it stumbles: in a damaged file, or over an error of the system.
H5PY_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError, EOFError)

_DRIVER = "reeldex-reading"
# The HDF5 library ends its message for each system call that failed with this.
_SYSTEM_CALL = re.compile(r"\berrno = (\d+)")
_PROBE_BYTES = 64 << 20


def _set_driver(access: h5py.h5p.PropFAID) -> None:
    # The HDF5 library shares one open file between handles of one driver, and refuses a second one with another kind of
    # locking. Its logging driver, which logs nothing here, is the default one under another name: files that the
    # user opens with plain h5py in this process stay independent of ours.
    access.set_fapl_log(b"", 0, 0)


h5py.register_driver(_DRIVER, _set_driver)


def open_to_read(path: Path) -> h5py.File:
    """Open an HDF5 file for reading, without a lock and independently of other handles on it in this process.

    Published files are never written again, so that reading needs no lock; many network file systems have none. Raises
    what h5py raises.
    """
    return h5py.File(path, "r", driver=_DRIVER, locking=False)


def raise_system_error(path: Path, error: BaseException) -> None:
    """Raise StoreUnreadableError when what h5py raised for a file is an error of the system; return for damage.

    Raises FileNotFoundError when the file was deleted since somebody looked whether it exists.
    A system call that failed is known by its number. Without one, the file is read with the operating system alone:
    only when that delivers every byte are the bytes to blame.
    """
    found = _system_call(error) or _out_of_memory(error) or reading_error(path)
    if isinstance(found, FileNotFoundError) and look_at(path) is None:
        raise FileNotFoundError(
            errno.ENOENT,
            "It was deleted while it was being opened; `reeldex rerun` makes missing files again",
            str(path),
        ) from error
    if found is not None:
        raise unreadable(path, found) from error


def _system_call(error: BaseException) -> OSError | None:
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (match := _SYSTEM_CALL.search(str(error))):
        number = int(match.group(1))
    return None if number is None or number in ASKED_WRONGLY else OSError(number, os.strerror(number))


def _out_of_memory(error: BaseException) -> OSError | None:
    """Return ENOMEM when memory has run out; a damaged file can also ask for more than any machine has."""
    if not isinstance(error, MemoryError):
        return None
    try:
        bytearray(_PROBE_BYTES)
    except MemoryError:
        return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    return None
