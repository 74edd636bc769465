"""Files of object stores, and of every other file system of fsspec: read in pieces, each with a time limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from reeldex.errors import UserError
from reeldex.extractors.errors import FailureReason
from reeldex.flows.fetching.faults import FaultKind, FetchError, ServiceFault, ServiceRefusedError, UnansweredError
from reeldex.flows.fetching.remote_file import RemoteFile
from reeldex.flows.fetching.service import Body
from reeldex.remote_faults import fault_of_request, response_code
from reeldex.remote_files import open_file_system, path_within, within_seconds
from reeldex.remote_urls import RemoteUrl

if TYPE_CHECKING:
    from reeldex.flows.fetching.patience import Patience

T = TypeVar("T")

_PIECE_BYTES = 8 << 20
_SILENCE_SECONDS = 60.0
_KINDS = {
    "throttled": FaultKind.THROTTLED,
    "unavailable": FaultKind.FAILED,
    "unreachable": FaultKind.UNREACHABLE,
    "timeout": FaultKind.SILENT,
}
# What concerns every file there, until a person does something.
_LASTING = frozenset({"no_credentials", "refused_credentials", "misdirected"})


class ObjectFiles:
    """Files of one bucket, container or host."""

    def __init__(self, url: RemoteUrl) -> None:
        try:
            self._system, _ = open_file_system(url, **_client_options(url.scheme))
        except UserError:
            raise
        except Exception as error:  # some connect at once, and raise what they like
            raise _restated(str(url), error) from error

    def look_at(self, url: str, patience: Patience) -> RemoteFile:
        """Return what the store says of an object. Raises FetchError for a folder."""
        found = self.entry(url, patience)
        if found.get("type") == "directory":
            raise FetchError(url, FailureReason.MISSING, "There is no such object, only a folder.", "Correct the URL.")
        return RemoteFile.from_listing(found)

    def entry(self, url: str, patience: Patience) -> dict[str, Any]:
        """Return what the store says of an object or folder, in fsspec's words."""
        found: dict[str, Any] = self._asked(url, patience, lambda seconds: self._call("info", self.path(url), seconds))
        return found

    def path(self, url: str) -> str:
        """Return the name of a file as it is in listings."""
        return path_within(self._system, url)

    def entries(self, url: str, patience: Patience) -> list[dict[str, Any]]:
        """Return what the store says of the objects and folders directly in a folder."""
        path = self.path(url)
        # For millions of objects these are many requests, each of which the client gives its own time.
        found: list[dict[str, Any]] = self._asked(
            url, patience, lambda _: self._call("ls", path, patience.seconds_left, detail=True)
        )
        return found

    @contextmanager
    def opened(self, url: str, offset: int, known: RemoteFile | None, patience: Patience) -> Iterator[Body]:
        """Open an object to read it from `offset`, or from 0 if it is no longer `known`, or that cannot be told."""
        file = self.look_at(url, patience)
        if known is not None and not (file.has_version and file.same_content(known)):
            offset = 0
        yield Body(file, offset, self._pieces(url, file, offset, patience))

    def _pieces(self, url: str, file: RemoteFile, offset: int, patience: Patience) -> Iterator[bytes]:
        stop = file.size_bytes
        while stop is None or offset < stop:
            end = offset + _PIECE_BYTES if stop is None else min(stop, offset + _PIECE_BYTES)
            piece = self._asked(url, patience, partial(self._piece, url, offset, end))
            if not piece:
                break
            offset += len(piece)
            yield piece
        # Pieces of two versions of an object would make a third file that never was.
        if file.has_version and not self.look_at(url, patience).same_content(file):
            raise ServiceFault(FaultKind.CUT, "the object changed while it was fetched", "Run it again.")

    def _piece(self, url: str, start: int, end: int, seconds: float) -> bytes:
        return bytes(self._call("cat_file", self.path(url), seconds, start=start, end=end))

    def _call(self, method: str, path: str, seconds: float, **arguments: Any) -> Any:  # noqa: ANN401 - of fsspec
        return within_seconds(self._system, method, seconds, path, **arguments)

    def _asked(self, url: str, patience: Patience, request: Callable[[float], T]) -> T:
        try:
            return request(min(_SILENCE_SECONDS, patience.seconds_left))
        except Exception as error:  # clients raise what they like
            raise _restated(url, error) from error


def _restated(url: str, error: Exception) -> Exception:
    """Return a client's error as FetchError, ServiceFault or ServiceRefusedError."""
    fault = fault_of_request(error, RemoteUrl.parse(url))
    if fault is None:
        return FetchError(url, FailureReason.MISSING, "There is no such object.", "Correct the URL, or upload it.")
    if fault.transient:
        return ServiceFault(_KINDS[fault.kind], fault.why, fault.remedy)
    if fault.kind in _LASTING:
        return ServiceRefusedError(url, fault)
    reason = FailureReason.MISSING if fault.kind == "no_place" else FailureReason.UNREADABLE
    # Of an error that says nothing, it is not known whether the store has answered.
    kind = UnansweredError if fault.kind == "other" and response_code(error) is None else FetchError
    return kind(url, reason, f"The video cannot be fetched: {fault.why}.", fault.remedy)


def _client_options(scheme: str) -> dict[str, Any]:
    """Return how long a client waits and how often it tries: briefly and once, attempts are counted by us."""
    if scheme not in {"s3", "s3a"}:
        return {}
    return {"config_kwargs": {"connect_timeout": 15, "read_timeout": 30, "retries": {"total_max_attempts": 1}}}
