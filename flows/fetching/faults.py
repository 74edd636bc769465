"""What fails when videos are fetched: one video, or the service that holds them."""

from __future__ import annotations

from enum import Enum, auto

from reeldex.errors import PermanentFaultError
from reeldex.extractors.errors import ExtractionError
from reeldex.remote_faults import RemoteFault


class FetchError(ExtractionError):
    """One video cannot be fetched; the others of its service can."""

    stage = "fetch"

    @property
    def is_answer(self) -> bool:
        """Whether the service has been heard."""
        return not isinstance(self.__cause__, ServiceFault) or self.__cause__.kind.is_answer


class UnansweredError(FetchError):
    """One video cannot be fetched, without an answer of its service: its URL is invalid, or it is not to be asked."""

    @property
    def is_answer(self) -> bool:
        """Whether the service has been heard."""
        return False


class ServiceRefusedError(PermanentFaultError):
    """A service refuses all requests until a person has changed something, such as the credentials."""

    def __init__(self, url: str, fault: RemoteFault) -> None:
        super().__init__(f"{url} cannot be read: {fault.why}. {fault.remedy}")
        self.url, self.fault = url, fault

    def __reduce__(self) -> tuple[type[ServiceRefusedError], tuple[str, RemoteFault]]:
        return ServiceRefusedError, (self.url, self.fault)


class FaultKind(Enum):
    """What made a request fail, so that another attempt may succeed.

    UNREACHABLE: no connection. MISLED: the service answered, with the name of a host to which there is none. FAILED: it
    answered that it failed. THROTTLED: it asks for fewer requests. CUT: the answer ended early. SILENT: nothing arrived
    for a while.
    """

    UNREACHABLE = auto()
    MISLED = auto()
    FAILED = auto()
    THROTTLED = auto()
    CUT = auto()
    SILENT = auto()

    @property
    def is_answer(self) -> bool:
        """Whether the service has been heard."""
        return self not in {FaultKind.UNREACHABLE, FaultKind.SILENT}


class ServiceFault(Exception):  # noqa: N818 - it is retried, and becomes an error only when that does not help
    """A request failed, and another attempt may succeed. `why` is a clause, `remedy` a sentence.

    `retry_after_seconds` is how long the service asks to wait.
    """

    def __init__(self, kind: FaultKind, why: str, remedy: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(why)
        self.kind, self.why, self.remedy, self.retry_after_seconds = kind, why, remedy, retry_after_seconds


class FetchStoppedError(Exception):
    """The run has ended while a video was being fetched."""
