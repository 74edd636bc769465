"""What went wrong with a request to an object store or a host, and whether a retry may succeed.

A request is repeated at once only for a fault that is known to pass (`RemoteFault.transient`). The work that needed it
is retried, with longer pauses, unless a person has to change something first (`needs_user`): of a fault that is
neither, nobody knows whether it lasts, and a run ends when it meets the same one in several shards.

Clients raise errors of many classes; they are recognised by their codes, so that no client has to be loaded.
"""

from __future__ import annotations

import errno
import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from reeldex.errors import UserError
from reeldex.remote_files import open_file_system, place_is_absent
from reeldex.remote_urls import RemoteUrl, credentials_advice, endpoint_variables, redacted

log = logging.getLogger(__name__)

FaultKind = Literal[
    "no_place", "forbidden", "no_credentials", "refused_credentials", "misdirected", "throttled", "unavailable",
    "unreachable", "timeout", "replaced", "removed", "other",
]  # fmt: skip
T = TypeVar("T")

ATTEMPTS = 6
FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 20.0
_LONGEST_MESSAGE = 300

# What a person has to change before any request can succeed.
_OF_THE_USER = frozenset({"no_place", "forbidden", "no_credentials", "refused_credentials", "misdirected"})
_TRANSIENT = frozenset({"throttled", "unavailable", "unreachable", "timeout", "replaced"})
_NUMBERS: dict[FaultKind, int] = {
    "no_place": errno.ENOENT,
    "forbidden": errno.EACCES,
    "no_credentials": errno.EACCES,
    "refused_credentials": errno.EACCES,
    "misdirected": errno.EINVAL,
    "throttled": errno.EAGAIN,
    "unavailable": errno.EAGAIN,
    "unreachable": errno.EHOSTUNREACH,
    "timeout": errno.ETIMEDOUT,
    "replaced": errno.EAGAIN,
    "removed": errno.ESTALE,
    "other": errno.EIO,
}
# Codes of S3, Google Cloud and Azure; the HTTP status where a response has no code.
_CODES: dict[str, FaultKind] = {
    **dict.fromkeys(("NoSuchBucket", "ContainerNotFound", "InvalidBucketName"), "no_place"),
    **dict.fromkeys(
        ("AccessDenied", "AllAccessDisabled", "AuthorizationFailure", "AuthorizationPermissionMismatch",
         "InvalidObjectState", "403"), "forbidden"),
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired",
         "RequestTimeTooSkewed", "AuthenticationFailed", "401"), "refused_credentials"),
    # Azure's, for requests without any.
    **dict.fromkeys(("NoAuthenticationInformation", "PublicAccessNotPermitted"), "no_credentials"),
    **dict.fromkeys(
        ("PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed",
         "IllegalLocationConstraintException", "301", "307"), "misdirected"),
    **dict.fromkeys(
        ("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "ServerBusy",
         "RequestThrottled", "429"), "throttled"),
    **dict.fromkeys(
        ("InternalError", "ServiceUnavailable", "OperationAborted", "OperationTimedOut", "ConditionalRequestConflict",
         "500", "502", "503", "504"), "unavailable"),
    **dict.fromkeys(("RequestTimeout", "RequestTimeTooLong", "408"), "timeout"),
}  # fmt: skip
# Classes of clients' errors without a code: botocore, aiohttp, google-auth, azure-core. gcsfs raises the ProxyError of
# requests for the status 502.
_CLASSES: dict[str, FaultKind] = {
    **dict.fromkeys(
        ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "CredentialUnavailableError"),
        "no_credentials"),
    **dict.fromkeys(("CredentialRetrievalError", "RefreshError", "ClientAuthenticationError"), "refused_credentials"),
    **dict.fromkeys(
        ("EndpointConnectionError", "ClientConnectorError", "ClientConnectorDNSError", "ServiceRequestError",
         "ConnectionRefusedError", "gaierror", "ProxyConnectionError", "ClientProxyConnectionError", "TransportError",
         "ConnectTimeoutError", "ConnectionTimeoutError"),
        "unreachable"),
    **dict.fromkeys(
        ("ReadTimeoutError", "ServerTimeoutError", "FSTimeoutError", "TimeoutError",
         "ServiceResponseTimeoutError"), "timeout"),
    **dict.fromkeys(
        ("ConnectionClosedError", "HTTPClientError", "ClientPayloadError", "ClientOSError", "ServerDisconnectedError",
         "IncompleteRead", "IncompleteReadError", "ResponseParserError", "ConnectionResetError",
         "ResponseStreamingError", "ServiceResponseError", "ChecksumError", "FlexibleChecksumError", "ProxyError"),
        "unavailable"),
    **dict.fromkeys(("InvalidRegionError", "NoRegionError", "InvalidEndpointURL"), "misdirected"),
}  # fmt: skip


@dataclass(frozen=True)
class RemoteFault:
    """What went wrong, as a clause without a full stop; what to do, as a sentence."""

    kind: FaultKind
    why: str
    remedy: str

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later without anybody doing anything."""
        return self.kind in _TRANSIENT


def needs_user(error: BaseException) -> bool | None:
    """Whether a person has to change something before an error of an object store can pass; None for other errors."""
    fault = getattr(error, "fault", None)
    return fault.kind in _OF_THE_USER if isinstance(fault, RemoteFault) else None


class RemoteError(OSError):
    """A request to an object store or a host failed, in the end.

    `url` is what was asked for, `fault` what went wrong; `errno` is the system's number that comes nearest to it.
    """

    def __init__(self, url: str, fault: RemoteFault) -> None:
        super().__init__(_NUMBERS[fault.kind], fault.why, url)
        self.url, self.fault = url, fault

    def __reduce__(self) -> tuple[type[RemoteError], tuple[str, RemoteFault]]:
        return RemoteError, (self.url, self.fault)

    def __str__(self) -> str:
        return f"{self.url}: {self.fault.why}. {self.fault.remedy}"


def fault_of(error: BaseException, url: RemoteUrl) -> RemoteFault | None:
    """Return what a client's error means for a URL; None where the file is merely absent or is there already.

    An absent bucket is a fault.
    """
    causes = list(_causes(error))
    kind = next((found for cause in causes if (found := _kind(cause)) is not None), None)
    if kind is None:
        if _says_absent(error) or isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError):
            return None
        kind = "forbidden" if isinstance(error, PermissionError) else "other"
    return _described(kind, url, next((text for cause in causes if (text := _code(cause)) is not None), None), error)


def fault_of_request(error: BaseException, url: RemoteUrl) -> RemoteFault | None:
    """Return what `fault_of` does; of a client that reports an absent bucket as an absent file, ask for the bucket."""
    fault = fault_of(error, url)
    if fault is None and isinstance(error, FileNotFoundError) and place_is_absent(url):
        return _described("no_place", url, None, error)
    return fault


def response_code(error: BaseException) -> str | None:
    """Return the code of the response that an error is due to, or its HTTP status; None if there was none."""
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code") or "") or None
        for name in ("status", "status_code"):
            if isinstance(status := getattr(cause, name, None), int):
                return str(status)
    return None


def attempted(request: Callable[[], T], url: RemoteUrl, deadline: float | None = None) -> T:
    """Return what a request to a URL returns; a transient fault is retried with growing pauses.

    No attempt starts after the deadline, a time of `time.monotonic`. Raises RemoteError for a fault, FileNotFoundError
    for an absent file, and the client's own FileExistsError.
    """
    for attempt in range(ATTEMPTS):
        try:
            return request()
        except Exception as error:
            fault = None if isinstance(error, UserError) else fault_of_request(error, url)
            if fault is None:
                if _says_absent(error) and not isinstance(error, FileNotFoundError):
                    raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(url)) from error
                raise
            pause = min(_LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311
            late = deadline is not None and time.monotonic() + pause >= deadline
            if late or not fault.transient or attempt + 1 == ATTEMPTS:
                raise RemoteError(str(url), fault) from error
            log.info("%s: %s. Trying again in %.1f s.", url, fault.why, pause)
            time.sleep(pause)
    raise AssertionError("unreachable: the last attempt returns or raises")


def connected(url: RemoteUrl) -> tuple[Any, str]:
    """Return the file system of a URL and the path that it has there; some connect when they are made.

    Raises RemoteError as `attempted` does, and UsageError.
    """
    return attempted(lambda: open_file_system(url), url)


def _says_absent(error: BaseException) -> bool:
    """Whether a file is absent; adlfs passes on the class of azure-core for some requests."""
    return isinstance(error, FileNotFoundError) or type(error).__name__ == "ResourceNotFoundError"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _kind(error: BaseException) -> FaultKind | None:
    if (code := _code(error)) is not None and code in _CODES:
        return _CODES[code]
    if isinstance(error, FileNotFoundError) and "bucket does not exist" in str(error):
        # s3fs drops the code of a listing that failed.
        return "no_place"
    if isinstance(error, OSError) and error.errno is None and str(error).startswith("Forbidden: "):
        # gcsfs has no class for it.
        return "forbidden"
    if type(error).__name__ == "ClientAuthenticationError" and getattr(error, "response", None) is None:
        # azure-identity, which has asked nobody.
        return "no_credentials"
    return next((_CLASSES[each.__name__] for each in type(error).__mro__ if each.__name__ in _CLASSES), None)


def _code(error: BaseException) -> str | None:
    """Return the code of a response: of S3's errors, of Azure's, or the HTTP status."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        code = str(response.get("Error", {}).get("Code") or "")
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return code if code in _CODES or status is None else str(status)
    for name in ("error_code", "code", "status", "status_code"):
        # Azure's codes are members of an enumeration.
        value = getattr(getattr(error, name, None), "value", getattr(error, name, None))
        if isinstance(value, int | str) and str(value) in _CODES:
            return str(value)
    return None


def _described(kind: FaultKind, url: RemoteUrl, code: str | None, error: BaseException) -> RemoteFault:
    named = "" if code is None else f" ({code})"
    whys: dict[FaultKind, str] = {
        "no_place": f"the bucket or container {url.place!r} does not exist",
        "forbidden": f"access is denied{named}",
        "no_credentials": "no credentials were found",
        "refused_credentials": f"the credentials were refused{named}",
        "misdirected": f"the bucket is in another region or at another endpoint{named}",
        "throttled": f"the service asks for fewer requests{named}",
        "unavailable": f"the service failed{named or f' ({type(error).__name__})'}",
        "unreachable": "the service cannot be reached",
        "timeout": "the service did not answer in time",
        "other": f"{type(error).__name__}: {redacted(str(error))[:_LONGEST_MESSAGE].rstrip('.') or 'no message'}",
    }
    remedies: dict[FaultKind, str] = {
        "no_place": "Create it, or correct the URL; with another endpoint or region it may be absent, too.",
        "forbidden": "Grant these credentials the right to list, read and write there, or use others.",
        "no_credentials": credentials_advice(url.scheme),
        "refused_credentials": "Check that they are right and have not expired. " + credentials_advice(url.scheme),
        "misdirected": f"Set the region or the endpoint in the environment ({endpoint_variables(url.scheme)}).",
        "throttled": "Run it again later, or with fewer workers.",
        "unavailable": "Run it again later.",
        "unreachable": "Check the network, the URL, and the endpoint in the environment "
        f"({endpoint_variables(url.scheme)}).",
        "timeout": "Check the network, and run it again later.",
        "other": "Remove the cause, and run it again.",
    }
    return RemoteFault(kind, whys[kind], remedies[kind])


def remote_error(error: BaseException) -> RemoteError | None:
    """Return the error of an object store that is a cause of another one, such as of h5py's."""
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, RemoteError):
            return each
        each = each.__cause__ or each.__context__
    return None
