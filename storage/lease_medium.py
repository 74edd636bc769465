"""Where leases are stored: the few operations that they need of a folder or an object store."""

from __future__ import annotations

import errno
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from reeldex.storage.atomic import lasting_faults_named, make_folder
from reeldex.storage.system_errors import list_folder
from reeldex.storage.workspace import PREFIX

# File systems without hard links, such as FAT and some network shares, answer with one of these.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
# A sweep by another run may remove a temporary between its creation and the link.
_ATTEMPTS = 5


class LeaseMedium(Protocol):
    """Small files by name, of which each has one writer. Errors of the medium are OSErrors.

    A deadline is a time of `time.monotonic`: a medium whose operations can be interrupted gives up then.
    """

    def create(self, name: str, content: bytes) -> bool:
        """Create a file; return False, and change nothing, if the name exists. Of several callers, one succeeds."""

    def replace(self, name: str, content: bytes, deadline: float | None = None) -> bool:
        """Replace the content of a file; return False, and create nothing, if the name does not exist."""

    def read(self, name: str, deadline: float | None = None) -> bytes | None:
        """Return the content of a file as it is now, None if it does not exist."""

    def list(self) -> list[str]:
        """Return the names of all files."""

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""


class LeaseFolder:
    """Leases as files of a folder, which may be shared by hosts over a network file system without locks.

    Creation is exclusive by a hard link, which NFS guarantees as well. Nothing is fsynced: a power cut ends the
    processes that hold leases, too. A system call of a network file system cannot be interrupted: no deadline holds.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, name: str, content: bytes) -> bool:
        """Create a file with its whole content, unless the name exists."""
        make_folder(self._folder)
        with lasting_faults_named(self._folder / name):
            for _ in range(_ATTEMPTS):
                with suppress(FileNotFoundError):
                    return self._link(name, content)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._folder / name))

    def _link(self, name: str, content: bytes) -> bool:
        temporary = self._folder / f"{PREFIX}{uuid.uuid4().hex}"
        try:
            temporary.write_bytes(content)
            try:
                os.link(temporary, self._folder / name)
            except FileExistsError:
                # An NFS server may have done it although its answer was lost.
                return temporary.stat().st_nlink == 2
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return self._create_exclusively(name, content)
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def _create_exclusively(self, name: str, content: bytes) -> bool:
        try:
            with (self._folder / name).open("xb") as file:
                file.write(content)
        except FileExistsError:
            return False
        return True

    def replace(self, name: str, content: bytes, deadline: float | None = None) -> bool:  # noqa: ARG002 - see the class
        """Overwrite a file in place: a rename would create it again after it was deleted."""
        try:
            descriptor = os.open(self._folder / name, os.O_WRONLY)
        except FileNotFoundError:
            return False
        try:
            os.pwrite(descriptor, content, 0)
        finally:
            os.close(descriptor)
        return True

    def read(self, name: str, deadline: float | None = None) -> bytes | None:  # noqa: ARG002 - see the class
        """Return the content of a file; opening it asks a network file system for the current one."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def list(self) -> list[str]:
        """Return the names of all files and folders, sorted. Raises StoreUnreadableError."""
        return [path.name for path in list_folder(self._folder)]

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        (self._folder / name).unlink(missing_ok=True)
