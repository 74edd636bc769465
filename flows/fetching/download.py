"""Fetches one video into one file: completely, within its limits, or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from reeldex.errors import InfrastructureError
from reeldex.extractors.errors import FailureReason
from reeldex.flows.fetching.faults import FaultKind, FetchError, FetchStoppedError, ServiceFault
from reeldex.quantities import data_size
from reeldex.storage.write_errors import UnwritableError, lasting_fault

if TYPE_CHECKING:
    from reeldex.flows.fetching.patience import Patience
    from reeldex.flows.fetching.remote_file import RemoteFile
    from reeldex.flows.fetching.service import Body, Service


class NeedsRoomError(Exception):
    """A video is larger than the room that was reserved for it: `size_bytes`, or unknown (None)."""

    def __init__(self, size_bytes: int | None) -> None:
        super().__init__(f"{size_bytes} bytes")
        self.size_bytes = size_bytes


@dataclass
class Download:
    """The download of `url` into the new file `target`, which may have `room_bytes`; a video, `most_bytes`.

    `planned_bytes` is its size when the run was planned, if that is known.
    """

    service: Service
    url: str
    target: Path
    room_bytes: int
    most_bytes: int
    patience: Patience
    planned_bytes: int | None = None
    received: int = 0
    _known: RemoteFile | None = field(default=None, init=False)
    _is_heard: bool = field(default=False, init=False)  # in the latest attempt

    def run(self) -> int:
        """Fetch the whole video and return its size in bytes.

        Requests that fail are repeated; the download continues where it stopped if the service allows it. Raises
        FetchError for this video's fault, NeedsRoomError, FetchStoppedError, ServiceFault for one that lasts longer
        than the patience with it, and UnwritableError for a disk that cannot be written.
        """
        failures, farthest = 0, 0
        while True:
            try:
                return self._attempt()
            except ServiceFault as fault:
                failures = 1 if self.received > farthest else failures + 1
                farthest = max(farthest, self.received)
                if self.patience.pause(fault, failures, self.url):
                    continue
                self._raise_fault_of_video(fault, failures)
                raise
            except UnwritableError:
                raise
            except OSError as error:
                raise self._disk_fault(error) from error

    def _attempt(self) -> int:
        self._is_heard = False
        with self.service.opened(self.url, self.received, self._known, self.patience) as body:
            self._begin(body)
            with self.target.open("r+b" if body.offset else "wb") as file:
                file.seek(body.offset)
                self.received = body.offset
                self._receive(body, file)
            size = self._size_at_least(body)
        if size is not None and self.received != size:
            raise ServiceFault(FaultKind.CUT, f"the connection ended after {self._progress(size)}", "Run it again.")
        return self.received

    def _size_at_least(self, body: Body) -> int | None:
        """Return the size that the video must have; where the service marks no end, what the plan knows of it."""
        size = self._known.size_bytes if self._known is not None else None
        if size is None and not body.has_end and self.received < (self.planned_bytes or 0):
            return self.planned_bytes
        return size

    def _begin(self, body: Body) -> None:
        """Check the answer before its first byte: the size, and that it continues what has been received."""
        self._is_heard = True
        self.patience.answered()
        known, self._known = self._known, body.file
        if body.offset and (known is None or not known.same_content(body.file)):
            # The next attempt asks for the whole file, of which nothing has been received.
            self.received = 0
            raise ServiceFault(FaultKind.CUT, "the file changed while it was fetched", "Run it again.")
        if known is not None and body.offset and body.file.size_bytes is None:
            self._known = replace(body.file, size_bytes=known.size_bytes)  # a rest of a whole whose size it leaves out
        size = body.file.size_bytes
        if size is not None and size > self.most_bytes:
            raise self._too_large(f"The video has {data_size(size)}")
        if size is not None and size > self.room_bytes:
            raise NeedsRoomError(size)

    def _receive(self, body: Body, file: IO[bytes]) -> None:
        for block in body.blocks:
            self.patience.answered()
            if self.patience.stop.is_set():
                raise FetchStoppedError(self.url)
            arrived = self.received + len(block)
            if arrived > self.most_bytes:
                raise self._too_large(f"After {data_size(arrived)} the video has not ended")
            if arrived > self.room_bytes:
                raise NeedsRoomError(None)
            file.write(block)
            self.received = arrived
            if self.patience.is_over:
                raise ServiceFault(FaultKind.CUT, "the time is up", "Run it again.")
        file.flush()

    def _raise_fault_of_video(self, fault: ServiceFault, failures: int) -> None:
        """Raise FetchError for what concerns this video: an answer that is too slow, or ends early again and again."""
        size = self._known.size_bytes if self._known is not None else None
        arrived = f"{self._progress(size)} arrived"
        if fault.kind is FaultKind.SILENT or (fault.kind is FaultKind.CUT and self.patience.is_over):
            # A service that has begun to send is no silent one: its videos may all be too slow.
            cause = ServiceFault(FaultKind.CUT, fault.why, fault.remedy) if self._is_heard else fault
            raise FetchError(
                self.url,
                FailureReason.TIMEOUT,
                f"The video was not fetched in time: {arrived}.",
                "Raise fetch.timeout_seconds, or check the service and the network.",
            ) from cause
        if fault.kind is FaultKind.CUT:
            raise FetchError(
                self.url,
                FailureReason.UNREADABLE,
                f"The download was cut short {failures} times ({fault.why}); {arrived}.",
                "Check the file at its service, or raise fetch.retries.",
            ) from fault

    def _disk_fault(self, error: OSError) -> InfrastructureError:
        """Return an error of writing the video: its service raises none of the system's."""
        fault = lasting_fault(self.target, error)
        if fault is not None and fault.is_full:
            size = self._known.size_bytes if self._known is not None else None
            return fault.about(self.target.parent.parent, None if size is None else size - self.received, "video")
        return fault or InfrastructureError(f"{self.target} cannot be written: {error}.")

    def _progress(self, size: int | None) -> str:
        return data_size(self.received) if size is None else f"{self.received:,} of {size:,} bytes"

    def _too_large(self, what: str) -> FetchError:
        return FetchError(
            self.url,
            FailureReason.TOO_LARGE,
            f"{what}, the limit is {data_size(self.most_bytes)}.",
            "Raise fetch.max_video_bytes if it should be extracted.",
        )
