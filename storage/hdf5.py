"""Opens HDF5 files for reading and writing, and tells system errors from damaged files."""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 - before the handlers below: of those before a fork, later ones run first
import errno
import os
import re
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
from h5py._objects import phil

from reeldex.remote_faults import remote_error
from reeldex.storage.errors import StoreFileMissingError
from reeldex.storage.remote_ranges import RangeReader
from reeldex.storage.system_errors import ASKED_WRONGLY, look_at, reading_error, unreadable

# What h5py raises for a damaged file or a system error, depending on where it occurs.
H5PY_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError, EOFError)

_DRIVER = "reeldex-reading"
# The HDF5 library appends this to its message for each failed system call.
_SYSTEM_CALL = re.compile(r"\berrno = (\d+)")
_PROBE_BYTES = 64 << 20
_LEAST_METADATA_BYTES = 2048


def _set_driver(access: h5py.h5p.PropFAID) -> None:
    # The HDF5 library shares one open file between handles of one driver, and refuses a second one with other locking
    # flags. Its logging driver, which logs nothing here, is the default driver under another name: files that the
    # user opens with plain h5py in this process stay independent of the store's.
    access.set_fapl_log(b"", 0, 0)


h5py.register_driver(_DRIVER, _set_driver)


def open_to_read(path: Path) -> h5py.File:
    """Open an HDF5 file of a disk for reading, without a lock and independently of other handles on it in this process.

    Published files are never written again, so reading needs no lock, which many network file systems lack. Raises
    what h5py raises.
    """
    return h5py.File(path, "r", driver=_DRIVER, locking=False)


def open_ranges(ranges: RangeReader) -> h5py.File:
    """Open an HDF5 file in an object store, of which only what is used is fetched. Raises what h5py raises.

    This and all use of the file belong in a block of `safe_for_hdf5`.
    """
    file = h5py.File(ranges, "r")
    _OPEN_RANGES.add(file)
    return file


# A fork waits for h5py's lock, and so for the reads of other threads. It may hold no lock meanwhile that the thread of
# an object store's client needs for them, such as that of concurrent.futures, which resolves names of hosts.
os.register_at_fork(before=phil.acquire, after_in_parent=phil.release, after_in_child=phil.release)


# When Python ends, the HDF5 library closes what is open, and would call Python for it.
_OPEN_RANGES: weakref.WeakSet[h5py.File] = weakref.WeakSet()


@atexit.register
def _close_ranges() -> None:
    for file in list(_OPEN_RANGES):
        with suppress(*H5PY_ERRORS):
            file.close()


@contextmanager
def create(path: Path, metadata_bytes: int = 0) -> Iterator[h5py.File]:
    """Create an HDF5 file, and close it when the block ends. Raises what h5py raises.

    Room for metadata is reserved in pieces of `metadata_bytes`, if that is more than the library's 2 KiB.
    """
    file = h5py.File(path, "w", locking=False, meta_block_size=max(metadata_bytes, _LEAST_METADATA_BYTES))
    try:
        yield file
        file.close()
    except BaseException:
        # On a full disk, HDF5 would fail once more to write what it still holds, and h5py would print that.
        with suppress(OSError):
            os.truncate(path, 0)
        with suppress(*H5PY_ERRORS):
            file.close()
        raise


def raise_system_error(path: Path, error: BaseException) -> None:
    """Raise StoreUnreadableError if h5py's error for a file has a system error as its cause; return for damage.

    Raises StoreFileMissingError when the file was deleted after it was found.
    A failed system call is identified by its error number. Without one, the whole file is read without HDF5:
    it is damaged only if that succeeds.
    """
    found = remote_error(error) or _system_call(error) or _out_of_memory(error) or reading_error(path)
    if isinstance(found, FileNotFoundError) and look_at(path) is None:
        raise StoreFileMissingError(path) from error
    if found is not None:
        raise unreadable(path, found) from error


def _system_call(error: BaseException) -> OSError | None:
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (match := _SYSTEM_CALL.search(str(error))):
        number = int(match.group(1))
    return None if number is None or number in ASKED_WRONGLY else OSError(number, os.strerror(number))


def _out_of_memory(error: BaseException) -> OSError | None:
    """Return ENOMEM when memory is exhausted; a damaged file can also request more than any machine has."""
    if not isinstance(error, MemoryError):
        return None
    try:
        bytearray(_PROBE_BYTES)
    except MemoryError:
        return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    return None
