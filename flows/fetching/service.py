"""What fetching needs of a service that holds files: facts about one, and its bytes from an offset on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from reeldex.flows.fetching.remote_file import RemoteFile

if TYPE_CHECKING:
    from reeldex.flows.fetching.patience import Patience


@dataclass(frozen=True)
class Body:
    """The bytes of a file from `offset` on, in blocks; `file` is what the service says of the whole file.

    `has_end` is whether the service marks the end, by a length or by a last block: otherwise a broken connection looks
    like the end.
    """

    file: RemoteFile
    offset: int
    blocks: Iterator[bytes]
    has_end: bool = True


class Service(Protocol):
    """A service that holds files. Its methods make one attempt and are thread-safe.

    They raise FetchError for a fault of the file, ServiceFault for one that may pass, and PermanentFaultError for one
    of all files that lasts.
    """

    def look_at(self, url: str, patience: Patience) -> RemoteFile:
        """Return what the service says of a file, without reading it."""

    def opened(
        self, url: str, offset: int, known: RemoteFile | None, patience: Patience
    ) -> AbstractContextManager[Body]:
        """Open a file to read it from `offset`, or from 0 where that is impossible or the file is no longer `known`."""
