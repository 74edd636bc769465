"""Files that appear under their final name only when they are complete and on the disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reeldex.storage.remote_path import RemotePath
from reeldex.storage.system_errors import look_at
from reeldex.storage.write_errors import lasting_fault

_PREFIX = ".publishing-"


@contextmanager
def publish(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces `path` when the block ends.

    In an object store, the temporary is a file of this machine, and replacing is one upload.
    The file is fsynced before the rename and the folder after it, so that after a power cut the name holds
    either the old content or the new one. When the block raises, the temporary is removed and `path` stays as
    it was. Missing parent folders are created. Raises FileNotFoundError when the block wrote nothing, and
    UnwritableError, which is an OSError, for a full disk, a read-only one or missing permission.
    """
    if isinstance(path, RemotePath):
        with _lasting_faults_named(path), path.draft() as draft:
            yield draft
            path.upload(draft)
        return
    make_folder(path.parent)
    temporary = path.parent / f"{_PREFIX}{uuid.uuid4().hex}"
    with _lasting_faults_named(path):
        try:
            yield temporary
            _fsync(temporary)
            temporary.replace(path)
        except BaseException:
            # Frees its space, too. On a disk that has become read-only, the error of the block is the one to report.
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _fsync(path.parent)


def publish_text(path: Path, text: str) -> None:
    """Publish a UTF-8 text file."""
    with publish(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def publish_new_text(path: Path, text: str) -> bool:
    """Publish a UTF-8 text file unless the name exists, and return whether it was published.

    On a disk, this needs the store's lock: in an object store, of several writers one succeeds in any case.
    """
    if isinstance(path, RemotePath):
        with _lasting_faults_named(path):
            return path.create(text.encode("utf-8"))
    if look_at(path) is not None:
        return False
    publish_text(path, text)
    return True


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, each fsynced before the next; raises UnwritableError as `publish` does."""
    if folder.is_dir():
        return
    if isinstance(folder, RemotePath):
        with _lasting_faults_named(folder):
            folder.mkdir(exist_ok=True)
        return
    make_folder(folder.parent)
    with _lasting_faults_named(folder):
        folder.mkdir(exist_ok=True)
        _fsync(folder.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder with its content; if killed, it leaves only what `remove_leftovers` recognises."""
    if not folder.exists():
        return
    doomed = folder.parent / f"{_PREFIX}{uuid.uuid4().hex}"
    with _lasting_faults_named(folder):
        folder.rename(doomed)
        _fsync(folder.parent)
        shutil.rmtree(doomed)


def is_leftover(name: str) -> bool:
    """Return whether a file name is that of a temporary of this module."""
    return name.startswith(_PREFIX)


def remove_leftovers(folder: Path) -> int:
    """Remove the temporaries that killed runs left in `folder`; return how many.

    Call it only while holding the store's lock: the temporary of a running writer looks the same.
    """
    if not folder.is_dir():
        return 0
    leftovers = [entry for entry in folder.iterdir() if is_leftover(entry.name)]
    for entry in leftovers:
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return len(leftovers)


@contextmanager
def _lasting_faults_named(path: Path) -> Iterator[None]:
    """Raise UnwritableError for a fault of the block that no retry heals."""
    try:
        yield
    except OSError as error:
        if fault := lasting_fault(path, error):
            raise fault from error
        raise


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
