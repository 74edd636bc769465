"""The names of files in an object store, with the methods of `pathlib.PurePath`: none asks the object store."""

from __future__ import annotations

from pathlib import Path, PosixPath
from typing import Any, NoReturn, Self

from reeldex.remote_urls import RemoteUrl
from reeldex.storage.errors import RemoteStoreError


class RemoteName(PosixPath):
    """The name of a file or folder at a URL such as `s3://bucket/store`."""

    __slots__ = ()

    @property
    def url(self) -> RemoteUrl:
        """The URL of this path; raises UsageError for one that carries credentials, and for the empty path."""
        if not self.parts:
            return RemoteUrl.parse(str(self))
        scheme, *rest = self.parts
        return RemoteUrl(scheme.removesuffix(":"), "/".join(rest))

    def __str__(self) -> str:
        # `parents` ends with the empty path. From Python 3.12 on, paths are compared and hashed by their texts.
        if not self.parts:
            return "."
        scheme, *rest = self.parts
        return f"{scheme}//{'/'.join(rest)}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __fspath__(self) -> str:
        self._needs_a_disk("This")

    def as_posix(self) -> str:
        """Return the URL."""
        return str(self)

    def as_uri(self) -> str:
        """Return the URL."""
        return str(self)

    def is_absolute(self) -> bool:
        """Return True: a URL does not depend on the working directory."""
        return True

    def absolute(self) -> Self:
        """Return this path."""
        return self

    def resolve(self, strict: bool = False) -> Self:  # noqa: ARG002, FBT001, FBT002 - as pathlib has it
        """Return this path."""
        return self

    def relative_to(self, *other: Any, **options: Any) -> Path:  # type: ignore[override] # noqa: ANN401 - as pathlib has it
        """Return the path below another one; it is no URL."""
        return Path(*super().relative_to(*other, **options).parts)

    def _needs_a_disk(self, what: str) -> NoReturn:
        raise RemoteStoreError(
            f"{what} needs files on a disk, and {self} is in an object store. Copy the store to a folder of this "
            "machine, and use that."
        )
