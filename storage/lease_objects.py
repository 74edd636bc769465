"""Leases as objects of an object store, which creates an object for one of several writers."""

from __future__ import annotations

from reeldex.storage.atomic import lasting_faults_named
from reeldex.storage.remote_path import RemotePath


class LeaseObjects:
    """The leases of a folder in an object store; every answer is one of now. See `lease_medium.LeaseMedium`."""

    def __init__(self, folder: RemotePath) -> None:
        self._folder = folder

    def create(self, name: str, content: bytes) -> bool:
        """Create an object, unless the name exists."""
        path = self._folder / name
        with lasting_faults_named(path):
            return path.create(content)

    def replace(self, name: str, content: bytes, deadline: float | None = None) -> bool:
        """Replace the content of an object; return False, and create nothing, if the name does not exist."""
        path = self._folder / name
        version = path.version_now(deadline)
        if version is None:
            return False
        # Only its owner writes it. Not replaced: the answer to an earlier attempt was lost, or it was deleted since.
        return path.replace_version(content, version, deadline) or self.read(name, deadline) == content

    def read(self, name: str, deadline: float | None = None) -> bytes | None:
        """Return the content of an object, None if it does not exist."""
        try:
            return (self._folder / name).read_now(deadline)
        except FileNotFoundError:
            return None

    def list(self) -> list[str]:
        """Return the names of all objects, sorted."""
        return sorted(self._folder.names_now())

    def delete(self, name: str) -> None:
        """Delete an object, if it exists."""
        (self._folder / name).unlink(missing_ok=True)
