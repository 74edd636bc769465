"""Reads ranges of a file in an object store: small reads in cached blocks, large ones in one request."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reeldex.garbage_collection import GARBAGE_COLLECTION_OFF
from reeldex.remote_faults import RemoteError, RemoteFault, attempted, connected
from reeldex.remote_files import let_client_finish
from reeldex.remote_urls import RemoteUrl
from reeldex.storage.remote_versions import is_not_current, reads_one_version, version_of

BLOCK_BYTES = 64 << 10
HEAD_BYTES = 512 << 10
"""The first block: of a feature file, what HDF5 needs to find the rows of about 250 videos."""
_BLOCKS = 64
_REPLACED = RemoteFault(
    "replaced", "the file was replaced while it was read", "Read it again: the new file is complete."
)
_REMOVED = RemoteFault("removed", "the file was removed while it was read", "Open it again where it is now, if it is.")


@contextmanager
def safe_for_hdf5(url: RemoteUrl) -> Iterator[None]:
    """Within the block, HDF5 may read from a RangeReader of this URL.

    h5py holds its lock while HDF5 waits for bytes, which the client fetches in a thread of its own. A garbage
    collection in that thread which met an object of h5py would wait for the lock: both for ever. So none may start
    there within the block, nor one go on that started before. (h5py's documentation of file-like objects has the
    remedy.)
    """
    system, _ = connected(url)
    with GARBAGE_COLLECTION_OFF:
        let_client_finish(system)
        yield


class RangeReader(io.RawIOBase):
    """A file in an object store, open for reading; a new file of that name is not mixed with the one opened.

    Reads shorter than a block fetch whole blocks, which are kept, the first of which is larger; others are one request
    of just these bytes.
    `requests` counts both. Raises FileNotFoundError and RemoteError.
    """

    def __init__(self, url: RemoteUrl) -> None:
        super().__init__()
        self._url = url
        self.requests = 0
        self._at = 0
        self._first: bytes | None = None
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._file: Any = None  # `close` is called for a reader whose file could not be opened, too
        system, path = connected(url)
        # Asks for the file's size and version. With a client that can, reads of another version are refused.
        self._file = attempted(lambda: system.open(path, "rb", cache_type="none"), url)
        details = getattr(self._file, "details", None)
        if details is None:
            # Files of memory://, hdfs:// or sftp:// know nothing of themselves.
            details = attempted(lambda: system.info(path), url)
        self._version = "" if reads_one_version(url) else version_of(details)
        self.size = int(details["size"])

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position; no request is made."""
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence] + offset
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer
        """Fill a buffer from the position on; return the number of bytes, fewer only at the end of the file."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self.size - self._at))
        if count:
            view[:count] = self.read_range(self._at, count)
        self._at += count
        return count

    def read_range(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on; raises EOFError when the file has fewer."""
        if offset + count > self.size:
            raise EOFError(f"The file has {self.size} bytes.")
        if count >= BLOCK_BYTES or offset + count <= HEAD_BYTES:
            return self.read_exactly(offset, count)
        first, last = offset // BLOCK_BYTES, (offset + count - 1) // BLOCK_BYTES
        content = b"".join(self._block(number) for number in range(first, last + 1))
        start = offset - first * BLOCK_BYTES
        return content[start : start + count]

    def read_exactly(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on, by one request for just these unless they are in the first block."""
        if offset + count <= min(HEAD_BYTES, self.size):
            return self._head()[offset : offset + count]
        if offset + count > self.size:
            raise EOFError(f"The file has {self.size} bytes.")
        return self._fetched(offset, count)

    def _head(self) -> bytes:
        if self._first is None:
            self._first = self._fetched(0, min(HEAD_BYTES, self.size))
        return self._first

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._blocks.clear()
            if self._file is not None:
                self._file.close()
        super().close()

    def _block(self, number: int) -> bytes:
        block = self._blocks.pop(number, None)
        if block is None:
            start = number * BLOCK_BYTES
            block = self._fetched(start, min(BLOCK_BYTES, self.size - start))
            if len(self._blocks) >= _BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks[number] = block
        return block

    def _fetched(self, offset: int, count: int) -> bytes:
        def fetch() -> bytes:
            self._file.seek(offset)
            content: bytes = self._file.read(count)
            return content

        self.requests += 1
        try:
            content = attempted(fetch, self._url)
            replaced = len(content) != count or self._is_replaced()
        except FileNotFoundError as error:
            raise RemoteError(str(self._url), _REMOVED) from error
        except RemoteError as error:
            # s3fs raises the first for most answers 412.
            if "FileExpired" in {type(each).__name__ for each in (error.__cause__, error)} or is_not_current(error):
                raise RemoteError(str(self._url), _REPLACED) from error
            raise
        if replaced:
            raise RemoteError(str(self._url), _REPLACED)
        return content

    def _is_replaced(self) -> bool:
        """Whether the file has another version than the one opened, of a client that does not compare them itself.

        Raises FileNotFoundError and RemoteError.
        """
        if not self._version:
            return False
        system, path = connected(self._url)
        return version_of(attempted(lambda: system.info(path), self._url)) != self._version
