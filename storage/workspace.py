"""The folder through which the holder of a claim changes the store, so that a holder that was overtaken cannot.

Each change of a holder is one rename out of its workspace (a finished file gets its name) or into it (a file or folder
loses its name). Who takes over a claim first removes the workspace of the former holder. A rename by the former holder
is then either done before, and seen, or fails: there is no moment between a check and a rename at which a paused
process could wake up.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.errors import ClaimLostError
from reeldex.storage.presence import require_present
from reeldex.storage.remote_path import RemotePath, local_side

PREFIX = ".publishing-"
"""The beginning of the names of all temporaries."""

_current: ContextVar[Workspace | None] = ContextVar("workspace", default=None)


@dataclass(frozen=True)
class Workspace:
    """The workspace of one claim on the store `root`; `token` is unique, `what` names what was claimed in messages."""

    root: Path
    token: str
    what: str

    @property
    def folder(self) -> Path:
        """The folder, which exists as long as the claim is held."""
        return self._in(layout.claims_folder(self.root))

    def create(self) -> None:
        """Create the folder, and one in each folder of the store that is on another file system."""
        self.folder.mkdir()
        here = self.folder.stat().st_dev
        for place in self._places():
            with suppress(FileNotFoundError):
                if place.stat().st_dev != here:
                    self._in(place).mkdir()

    def remove(self) -> None:
        """Remove the folders, so that nothing can be renamed through them any longer."""
        for place in (layout.claims_folder(self.root), *self._places()):
            doomed = place / f"{PREFIX}{uuid.uuid4().hex}"
            with suppress(FileNotFoundError):
                # Whoever still writes to it, such as a process on another host of NFS, can keep its files alive.
                self._in(place).rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)

    def temporary_for(self, path: Path) -> Path:
        """Return a new path from which a rename to `path` stays within one file system. Raises ClaimLostError."""
        self.require()
        inside = [place for place in self._places() if place in path.parents and self._in(place).is_dir()]
        place = self._in(max(inside, key=lambda each: len(each.parts))) if inside else self.folder
        return place / uuid.uuid4().hex

    def is_held(self) -> bool:
        """Whether the claim is held, and was not overtaken."""
        return self.folder.is_dir()

    def contains(self, path: Path) -> bool:
        """Whether `path` is to be changed through this workspace."""
        return self.root in path.parents

    def require(self) -> None:
        """Raise ClaimLostError if the claim was overtaken, StoreVanishedError if the store is gone."""
        if not self.is_held():
            require_present(self.root)
            raise ClaimLostError(self.what)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make all changes of the store in the block, in this thread, go through this workspace."""
        before = _current.get()
        _current.set(self)
        try:
            yield
        finally:
            _current.set(before)

    def _in(self, place: Path) -> Path:
        return place / f"{PREFIX}{self.token}"

    def _places(self) -> list[Path]:
        """Return the folders of the store that may be mounted, or linked, elsewhere."""
        features = self.root / layout.FEATURES
        with suppress(FileNotFoundError):
            spaces = [features / name for name in sorted(os.listdir(features)) if not name.startswith(".")]  # noqa: PTH208
            return [*(self.root / name for name in layout.CHANGED_FOLDERS), *spaces]
        return []


class RemoteWorkspace(Workspace):
    """The workspace of a claim on a store in an object store: an object that exists as long as the claim is held.

    Files of the store are put where they are by `atomic`, which asks for the object before. What is staged on this
    machine goes through a folder there.
    """

    def create(self) -> None:
        """Create the object."""
        _as_remote(self.folder).create(b"")

    def remove(self) -> None:
        """Remove the object, and the folder on this machine."""
        _as_remote(self.folder).unlink(missing_ok=True)
        shutil.rmtree(self._staged, ignore_errors=True)

    def temporary_for(self, path: Path) -> Path:  # noqa: ARG002 - all that is staged is on one file system
        """Return a new path on this machine. Raises ClaimLostError."""
        self.require()
        self._staged.mkdir(parents=True, exist_ok=True)
        return self._staged / uuid.uuid4().hex

    def is_held(self) -> bool:
        """Whether the object is there."""
        return not _as_remote(self.folder).is_absent()

    def contains(self, path: Path) -> bool:
        """Whether `path` is to be changed through this workspace."""
        return self.root in path.parents or local_side(self.root) in path.parents

    @property
    def _staged(self) -> Path:
        return self._in(layout.staging_root(self.root))


def _as_remote(path: Path) -> RemotePath:
    if not isinstance(path, RemotePath):
        raise TypeError(f"{path} is not in an object store")
    return path


def workspace_for(root: Path, token: str, what: str) -> Workspace:
    """Return the workspace of a claim on the store `root`."""
    return (RemoteWorkspace if isinstance(root, RemotePath) else Workspace)(root, token, what)


def workspace_of(path: Path) -> Workspace | None:
    """Return the workspace through which `path` is to be changed; None if no claim is held on what contains it."""
    workspace = _current.get()
    return workspace if workspace is not None and workspace.contains(path) else None
