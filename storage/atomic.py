"""Files that appear under their final name only when they are complete and on the disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from reeldex.storage.errors import ClaimLostError
from reeldex.storage.presence import has_vanished
from reeldex.storage.remote_path import RemotePath
from reeldex.storage.system_errors import look_at
from reeldex.storage.workspace import PREFIX, Workspace, workspace_of
from reeldex.storage.write_errors import lasting_fault


@contextmanager
def publish(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces `path` when the block ends.

    While a claim on the store is held, the temporary is in the claim's workspace instead; of a store at a URL, it is a
    file of this machine, and replacing is one upload. The file is fsynced before the rename and the folder after it, so
    that after a power cut the name holds either the old content or the new one. When the block raises, the temporary is
    removed and `path` stays as it was. Missing parent folders are created. Raises FileNotFoundError when the block
    wrote nothing, and UnwritableError, which is an OSError, for a full disk, a read-only one or missing permission;
    ClaimLostError when the claim was overtaken, and then changes nothing.
    """
    workspace = workspace_of(path)
    if isinstance(path, RemotePath):
        with lasting_faults_named(path), path.draft() as draft:
            yield draft
            _upload(draft, path, workspace)
        return
    temporary = _temporary_for(path, workspace)
    make_folder(path.parent)
    with lasting_faults_named(path, temporary), _loss_named(workspace):
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


@contextmanager
def syncing(path: Path, temporary: Path) -> Iterator[None]:
    """Sync the temporary file of `publish(path)` while the block reads it back; raises OSError.

    The disk writes while the processor compares: `publish` then has little left to wait for.
    """
    if isinstance(path, RemotePath):
        yield
        return
    with ThreadPoolExecutor(1) as pool:
        synced = pool.submit(_fsync, temporary)
        yield
        synced.result()


def publish_text(path: Path, text: str) -> None:
    """Publish a UTF-8 text file."""
    with publish(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def publish_new_text(path: Path, text: str) -> bool:
    """Publish a UTF-8 text file unless the name exists, and return whether it was published.

    On a disk, this needs the store's lock: in an object store, of several writers one succeeds in any case.
    """
    if isinstance(path, RemotePath):
        if (workspace := workspace_of(path)) is not None:
            workspace.require()
        with lasting_faults_named(path):
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
        with lasting_faults_named(folder):
            folder.mkdir(exist_ok=True)
        return
    make_folder(folder.parent)
    with lasting_faults_named(folder):
        folder.mkdir(exist_ok=True)
        _fsync(folder.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder with its content; if killed, it leaves only what `remove_leftovers` recognises.

    Raises ClaimLostError as `publish` does.
    """
    if not folder.exists():
        return
    workspace = workspace_of(folder)
    doomed = _temporary_for(folder, workspace)
    with lasting_faults_named(folder, doomed), _loss_named(workspace):
        folder.rename(doomed)
        _fsync(folder.parent)
        shutil.rmtree(doomed)


def remove_file(path: Path) -> None:
    """Remove a file, if it exists. Raises ClaimLostError as `publish` does."""
    workspace = workspace_of(path)
    with lasting_faults_named(path), _loss_named(workspace), contextlib.suppress(FileNotFoundError):
        if isinstance(path, RemotePath) and workspace is not None:
            workspace.require()
        if workspace is None or isinstance(path, RemotePath):
            path.unlink()
        else:
            doomed = _temporary_for(path, workspace)
            path.rename(doomed)
            doomed.unlink()
    if workspace is not None:
        workspace.require()


def move_file(path: Path, target: Path) -> None:
    """Move a small file within a store; a kill in between leaves both. Raises ClaimLostError as `publish` does.

    Not by one rename: a former holder of the claim could move what a later one has written.
    """
    with publish(target) as temporary:
        temporary.write_bytes(path.read_bytes())
    remove_file(path)


def _upload(draft: Path, path: RemotePath, workspace: Workspace | None) -> None:
    """Put a file where `path` is. Raises ClaimLostError when the workspace's claim was overtaken.

    Nothing in an object store makes a check and an upload one step, except for a file that is new: that is created by
    one of several writers. So a former holder that wakes up after the check replaces nothing that is there by then.
    """
    if workspace is not None:
        workspace.require()
    if path.is_absent():
        if path.upload_new(draft):
            return
        if workspace is not None:
            workspace.require()
    path.upload(draft)


def _temporary_for(path: Path, workspace: Workspace | None) -> Path:
    return path.parent / f"{PREFIX}{uuid.uuid4().hex}" if workspace is None else workspace.temporary_for(path)


def is_leftover(name: str) -> bool:
    """Return whether a file name is that of a temporary of this module."""
    return name.startswith(PREFIX)


def remove_leftovers(folder: Path, in_use: Callable[[], Collection[str]] = tuple) -> int:
    """Remove the temporaries that killed runs left in `folder`; return how many.

    Call it only while nobody else writes to the folder, except through workspaces, whose tokens `in_use` returns: the
    temporary of a running writer looks the same.
    """
    if not folder.is_dir():
        return 0
    leftovers = [entry for entry in folder.iterdir() if is_leftover(entry.name)]
    # Asked after the folder was listed: every workspace in the list has had its claim before.
    kept = {f"{PREFIX}{token}" for token in in_use()} if leftovers else set()
    doomed = [entry for entry in leftovers if entry.name not in kept]
    for entry in doomed:
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    return len(doomed)


@contextmanager
def lasting_faults_named(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Raise UnwritableError about `path` for a fault of the block that no retry heals, also one of its temporary."""
    try:
        yield
    except OSError as error:
        if fault := lasting_fault(path, error):
            raise fault from error
        if temporary is not None and (fault := lasting_fault(temporary, error)):
            raise fault.about(path) from error
        raise


@contextmanager
def _loss_named(workspace: Workspace | None) -> Iterator[None]:
    """Raise ClaimLostError for an error of the block that is due to a workspace that was removed."""
    try:
        yield
    except OSError as error:
        if workspace is not None and not workspace.is_held() and not has_vanished(workspace.root):
            raise ClaimLostError(workspace.what) from error
        raise


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
