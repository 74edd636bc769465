"""The path of a file in an object store, with the methods of `pathlib.Path` that stores use.

So the code of stores is one for disks and object stores. What an object store does not offer (renaming in one step, a
path for other libraries) raises RemoteStoreError, which says so.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

from reeldex.remote_faults import attempted, connected
from reeldex.storage import remote_listings as listings
from reeldex.storage.drafts import new_draft
from reeldex.storage.errors import RemoteStoreError
from reeldex.storage.remote_name import RemoteName
from reeldex.storage.remote_ranges import RangeReader
from reeldex.storage.remote_read_ahead import content_ahead
from reeldex.storage.remote_requests import requested_of_file
from reeldex.storage.remote_versions import can_compare, is_not_current, is_there, put_over, version_of
from reeldex.user_folders import cache_folder


class RemotePath(RemoteName):
    """A file or folder at a URL such as `s3://bucket/store`.

    All methods raise RemoteError, an OSError, when the object store cannot be asked or refuses. A folder is there while
    there is a file below it. `unlink`, `write_bytes` and `upload` replace a file at once: no reader sees half of it.
    """

    __slots__ = ()

    # What is there

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:  # noqa: ARG002 - there are no links
        """Return size and time of a file or folder; raises FileNotFoundError.

        `st_ino` is a digest of the version that the object store reports, of a folder of its content.
        """
        entry = self._entry()
        if entry is None:
            raise FileNotFoundError(2, "No such file or directory", str(self))
        mode = stat.S_IFDIR | 0o755 if entry.is_folder else stat.S_IFREG | 0o644
        number = int(hashlib.sha256(entry.version.encode()).hexdigest()[:15], 16)
        seconds = entry.modified_ns / 1_000_000_000
        whole = int(seconds)
        times = (whole, whole, whole, seconds, seconds, seconds, *(entry.modified_ns,) * 3)
        return os.stat_result((mode, number, 0, 1, 0, 0, entry.size_bytes, *times))

    def exists(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002
        """Return whether there is a file or folder."""
        return self._entry() is not None

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002
        """Return whether there is a folder."""
        entry = self._entry()
        return entry is not None and entry.is_folder

    def is_file(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002
        """Return whether there is a file."""
        entry = self._entry()
        return entry is not None and not entry.is_folder

    def is_symlink(self) -> bool:
        """Return False."""
        return False

    def iterdir(self) -> Iterator[RemotePath]:  # type: ignore[override] # typeshed has Generator or Iterator by version
        """Yield what a folder holds; raises FileNotFoundError for an absent one."""
        entries = listings.entries_of(self.url)
        if not entries and self._entry() is None:
            raise FileNotFoundError(2, "No such file or directory", str(self))
        yield from (self / name for name in entries if name != listings.FOLDER_MARK)

    def _entry(self) -> listings.RemoteEntry | None:
        below_place = len(self.parts) > 2
        # The names of files end in these; a folder is not asked for as a file first.
        if below_place and self.suffix in {".json", ".h5"}:
            return listings.entry_of(self.parent.url, self.name)
        if entries := listings.entries_of(self.url):
            return listings.folder_entry(entries)
        return listings.entry_of(self.parent.url, self.name) if below_place else None

    # Reading

    def is_absent(self) -> bool:
        """Return whether the object store has no file here, by a new request."""
        return self.version_now() is None

    def version_now(self, deadline: float | None = None) -> str | None:
        """Return the version of a file as the object store reports it now; None for an absent one."""
        try:
            info = requested_of_file(self.url, deadline, "info")
        except FileNotFoundError:
            return None
        return None if info.get("type") == "directory" else version_of(info)

    def names_now(self) -> list[str]:
        """Return the names of what a folder holds, from a new listing; none for an absent one."""
        return [name for name in listings.entries_now(self.url) if name != listings.FOLDER_MARK]

    def read_now(self, deadline: float | None = None) -> bytes:
        """Return the content of a file as the object store has it now; raises FileNotFoundError."""
        content: bytes = requested_of_file(self.url, deadline, "cat_file")
        return content

    def read_bytes(self) -> bytes:
        """Return the content of a file; raises FileNotFoundError."""
        entry = self._entry()
        if entry is None:
            # Most that are asked for and absent are known to be, from the listing of their folder.
            raise FileNotFoundError(2, "No such file or directory", str(self))
        content = content_ahead(self.parent.url, self.name, entry)
        return self.read_now() if content is None else content

    def read_text(self, encoding: str | None = None, errors: str | None = None, newline: str | None = None) -> str:  # noqa: ARG002
        """Return the content of a text file; raises FileNotFoundError."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def open(self, mode: str = "r", *_: Any, **__: Any) -> IO[Any]:  # type: ignore[override] # noqa: ANN401
        """Open a file to read its bytes, in large pieces; raises FileNotFoundError."""
        if mode != "rb":
            self._needs_a_disk(f"Opening a file with mode {mode!r}")
        return io.BufferedReader(RangeReader(self.url), 8 << 20)

    @contextmanager
    def downloaded(self) -> Iterator[Path]:
        """Yield a copy of a file on this machine, which is removed when the block ends; raises FileNotFoundError."""
        with self.draft() as copy:
            with self.open("rb") as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target, 8 << 20)
            yield copy

    # Writing

    def draft(self) -> AbstractContextManager[Path]:
        """Return the path of a file on this machine, to be written and uploaded; it is removed when the block ends."""
        return new_draft()

    def upload(self, file: Path) -> None:
        """Put a file of this machine here, replacing what was here; readers see the whole of it, or what was here."""
        system, path = connected(self.url)
        try:
            attempted(lambda: system.put_file(str(file), path), self.url)
        finally:
            listings.forget(self.url)

    def upload_new(self, file: Path) -> bool:
        """Put a file of this machine here if there is nothing here, and return whether it was put.

        After a lost answer, it may have been put although the value is False.
        """
        system, path = connected(self.url)
        try:
            attempted(lambda: system.put_file(str(file), path, mode="create"), self.url)
        except OSError as error:
            if not is_there(error):
                raise
            return False
        finally:
            listings.forget(self.url)
        return True

    def replace_version(self, content: bytes, version: str, deadline: float | None = None) -> bool:
        """Put these bytes here if the file still has this version, and return whether they were put.

        After a lost answer, they may have been put although the value is False. Where the client cannot compare
        versions (see `require_comparison`), they are put in any case.
        """
        try:
            put_over(self.url, content, version, deadline)
        except OSError as error:
            if not is_not_current(error):
                raise
            return False
        finally:
            listings.forget(self.url)
        return True

    def require_comparison(self) -> None:
        """Raise RemoteStoreError unless a file here can be replaced only while it has a certain version."""
        if not can_compare(self.url):
            raise RemoteStoreError(
                f"Runs cannot share {self}: the client of {self.url.scheme}:// cannot replace a file only while it is "
                "unchanged, so that two runs could hold the same claim. Run one at a time (`--when-busy wait`), or use "
                "a store at s3://, gs:// or az://, or on a disk."
            )

    def create(self, content: bytes) -> bool:
        """Put these bytes here if there is nothing here, and return whether they were put."""
        system, path = connected(self.url)
        tried = 0

        def put() -> bool:
            nonlocal tried
            tried += 1
            try:
                system.pipe_file(path, content, mode="create")
            except OSError as error:
                if not is_there(error):
                    raise
                # The answer to an earlier attempt may have been lost.
                return tried > 1 and system.cat_file(path) == content
            return True

        try:
            return attempted(put, self.url)
        finally:
            listings.forget(self.url)

    def require_conditional_writes(self) -> None:
        """Raise RemoteStoreError unless the object store refuses to create what is there: in this existing folder."""
        if (self / listings.FOLDER_MARK).create(b"") and (self / listings.FOLDER_MARK).create(b""):
            raise RemoteStoreError(
                f"The object store of {self} does not support conditional writes (If-None-Match), without which two "
                "runs could write the same file. Use a release of it that does, or a store on a disk."
            )

    def write_bytes(self, data: Any) -> int:  # noqa: ANN401 - as pathlib has it
        """Put these bytes here, replacing what was here."""
        system, path = connected(self.url)
        content = bytes(data)
        try:
            attempted(lambda: system.pipe_file(path, content), self.url)
        finally:
            listings.forget(self.url)
        return len(content)

    def unlink(self, missing_ok: bool = False) -> None:  # noqa: FBT001, FBT002 - as pathlib has it
        """Remove a file."""
        system, path = connected(self.url)
        try:
            attempted(lambda: system.rm_file(path), self.url)
        except FileNotFoundError:
            if not missing_ok:
                raise
        finally:
            listings.forget(self.url)

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Make a folder, which stays without files; raises FileExistsError if it is there."""
        made = (self / listings.FOLDER_MARK).create(b"")
        if not made and not exist_ok:
            raise FileExistsError(17, "File exists", str(self))

    def rename(self, target: Any) -> NoReturn:  # noqa: ANN401 - as pathlib has it
        """Raise RemoteStoreError: object stores do not rename."""
        self._needs_a_disk(f"Renaming it to {target}")

    def replace(self, target: Any) -> NoReturn:  # noqa: ANN401 - as pathlib has it
        """Raise RemoteStoreError, as `rename` does."""
        self.rename(target)


def local_side(root: Path) -> Path:
    """Return this machine's folder for a store: the store itself, or of one at a URL a folder of the user's caches."""
    if not isinstance(root, RemotePath):
        return root
    return cache_folder("stores") / hashlib.sha256(str(root).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def refresh(root: Path) -> None:
    """Let what other processes have written to a store at a URL be seen from now on."""
    if isinstance(root, RemotePath):
        listings.forget(root.url)
