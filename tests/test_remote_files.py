from __future__ import annotations

import errno
import pickle
import sys
from enum import StrEnum

import pytest

from reeldex import remote_faults
from reeldex.errors import UsageError
from reeldex.remote_faults import RemoteError, attempted, fault_of
from reeldex.remote_files import open_file_system
from reeldex.remote_urls import RemoteUrl

BUCKET = RemoteUrl.parse("s3://lab/store")


def test_an_unknown_scheme_and_an_absent_client_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="s5://bucket/a cannot be opened"):
        open_file_system(RemoteUrl.parse("s5://bucket/a"))
    # As Python does for a package that is not installed.
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "gs", raising=False)  # of an earlier test
    with pytest.raises(UsageError, match=r"needs the package gcsfs. .*pip install -e '\.\[gs\]'"):
        open_file_system(RemoteUrl.parse("gs://bucket/a"))


class ClientError(Exception):
    def __init__(self, code: str, status: int) -> None:
        super().__init__(f"An error occurred ({code}) at https://user:hunter2@host/")
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


class NoCredentialsError(Exception):
    pass


class EndpointConnectionError(Exception):
    pass


class ConnectTimeoutError(OSError):
    """As botocore has it."""


class ConnectionTimeoutError(TimeoutError):
    """As aiohttp has it."""


class ClientResponseError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class StorageErrorCode(StrEnum):
    CONTAINER_NOT_FOUND = "ContainerNotFound"
    BLOB_NOT_FOUND = "BlobNotFound"
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    NO_AUTHENTICATION_INFORMATION = "NoAuthenticationInformation"
    PUBLIC_ACCESS_NOT_PERMITTED = "PublicAccessNotPermitted"
    SERVER_BUSY = "ServerBusy"


class HttpResponseError(Exception):
    def __init__(self, code: str, status: int) -> None:
        super().__init__(code)
        self.status_code, self.error_code = status, StorageErrorCode(code)


class ResourceNotFoundError(HttpResponseError):
    pass


class ProxyError(Exception):
    pass


class ClientAuthenticationError(Exception):
    def __init__(self, response: object = None) -> None:
        super().__init__("no")
        self.response = response


def caused(outer: Exception, cause: Exception) -> Exception:
    outer.__cause__ = cause
    return outer


@pytest.mark.parametrize(
    ("error", "kind", "transient"),
    [
        (caused(FileNotFoundError("gone"), ClientError("NoSuchBucket", 404)), "no_place", False),
        (FileNotFoundError("The specified bucket does not exist"), "no_place", False),
        (caused(PermissionError("no"), ClientError("AccessDenied", 403)), "forbidden", False),
        (PermissionError("Forbidden"), "forbidden", False),
        (caused(PermissionError("no"), ClientError("InvalidAccessKeyId", 403)), "refused_credentials", False),
        (NoCredentialsError("Unable to locate credentials"), "no_credentials", False),
        (caused(OSError(errno.EBUSY, "slow"), ClientError("SlowDown", 503)), "throttled", True),
        (ClientError("Unheard", 503), "unavailable", True),
        (ClientError("Unheard", 418), "other", False),
        (ClientResponseError(429), "throttled", True),
        (EndpointConnectionError("Could not connect"), "unreachable", True),
        (ConnectTimeoutError("no"), "unreachable", True),
        (ConnectionTimeoutError("no"), "unreachable", True),
        (ConnectionRefusedError("no"), "unreachable", True),
        (ConnectionResetError("no"), "unavailable", True),
        (TimeoutError("no"), "timeout", True),
        (ValueError("at https://user:hunter2@host/"), "other", False),
        # As azure-core and gcsfs have them.
        (HttpResponseError("ContainerNotFound", 404), "no_place", False),
        (HttpResponseError("AuthenticationFailed", 403), "refused_credentials", False),
        (HttpResponseError("PublicAccessNotPermitted", 409), "no_credentials", False),
        (HttpResponseError("NoAuthenticationInformation", 401), "no_credentials", False),
        (HttpResponseError("ServerBusy", 503), "throttled", True),
        (OSError("Forbidden: b/lab/o\nas the service says"), "forbidden", False),
        (ProxyError("502"), "unavailable", True),
        (ClientAuthenticationError(), "no_credentials", False),
        (ClientAuthenticationError("a response"), "refused_credentials", False),
    ],
)
def test_errors_of_clients_are_told_apart(error: Exception, kind: str, transient: bool) -> None:  # noqa: FBT001
    fault = fault_of(error, BUCKET)
    assert fault is not None
    assert (fault.kind, fault.transient) == (kind, transient)
    raised = RemoteError(str(BUCKET), fault)
    assert "hunter2" not in str(raised)
    assert str(pickle.loads(pickle.dumps(raised))) == str(raised)  # noqa: S301 - our own
    assert str(raised).startswith("s3://lab/store: ")


@pytest.mark.parametrize("error", [FileNotFoundError("a"), FileExistsError("a"), ClientError("NoSuchKey", 404)])
def test_an_absent_file_is_not_a_fault(error: Exception) -> None:
    found = error if isinstance(error, OSError) else caused(FileNotFoundError("a"), error)
    assert fault_of(found, BUCKET) is None


def test_an_absent_file_is_reported_by_one_class() -> None:
    def absent() -> None:
        raise ResourceNotFoundError("BlobNotFound", 404)

    with pytest.raises(FileNotFoundError, match="s3://lab/store"):
        attempted(absent, BUCKET)


def test_a_transient_fault_is_retried_and_a_lasting_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_faults, "FIRST_WAIT_SECONDS", 0.0)
    asked: list[Exception] = [ClientError("SlowDown", 503), ClientError("InternalError", 500)]

    def healing() -> str:
        if asked:
            raise asked.pop()
        return "done"

    assert attempted(healing, BUCKET) == "done"
    count = 0

    def failing() -> None:
        nonlocal count
        count += 1
        raise failure

    failure: Exception = ClientError("SlowDown", 503)
    with pytest.raises(RemoteError, match="asks for fewer requests"):
        attempted(failing, BUCKET)
    assert count == remote_faults.ATTEMPTS
    count, failure = 0, ClientError("AccessDenied", 403)
    with pytest.raises(RemoteError, match=r"access is denied \(AccessDenied\)"):
        attempted(failing, BUCKET)
    assert count == 1
    count, failure = 0, FileNotFoundError("absent")
    with pytest.raises(FileNotFoundError):
        attempted(failing, BUCKET)
    assert count == 1
