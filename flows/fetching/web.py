"""Files of web servers (http, https): bounded redirects, ranges, netrc, and time limits that hold.

Addresses that a redirect leads to may be signed: they are neither logged nor recorded.
"""

from __future__ import annotations

import email.utils
import logging
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx

from reeldex.extractors.errors import FailureReason
from reeldex.flows.fetching.credentials import netrc_credentials
from reeldex.flows.fetching.faults import FaultKind, FetchError, ServiceFault, UnansweredError
from reeldex.flows.fetching.remote_file import RemoteFile, plain_tag
from reeldex.flows.fetching.service import Body

if TYPE_CHECKING:
    from reeldex.flows.fetching.patience import Patience

_REDIRECTS = 10
_CONNECT_SECONDS = 15.0
_SILENCE_SECONDS = 30.0
_HEADERS = {"User-Agent": "reeldex", "Accept": "*/*", "Accept-Encoding": "identity"}
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_GONE = frozenset({404, 410})
_DENIED = frozenset({401, 403, 407, 451})
_THROTTLED = frozenset({429, 509})
_NS = 1_000_000_000
_LATER = "Run it again later."


class WebFiles:
    """Files of web servers; `admits_host` says which hosts may be asked, also after a redirect."""

    def __init__(self, admits_host: Callable[[str], bool]) -> None:
        self._admits_host = admits_host
        for name in ("httpx", "httpcore"):
            # They log each address, also a signed one that a redirect led to.
            logging.getLogger(name).setLevel(logging.WARNING)
        # A connection of its own for each request, which its time limit can then end.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._client = httpx.Client(headers=_HEADERS, auth=netrc_credentials(), limits=limits)

    def look_at(self, url: str, patience: Patience) -> RemoteFile:
        """Return what the server says of a file; asks for its first byte where HEAD is refused."""
        try:
            with self._answer("HEAD", url, {}, patience) as answer:
                return _facts(answer)
        except FetchError:
            with self._answer("GET", url, {"Range": "bytes=0-0"}, patience) as answer:
                return _facts(answer)

    @contextmanager
    def opened(self, url: str, offset: int, known: RemoteFile | None, patience: Patience) -> Iterator[Body]:
        """Open a file to read it from `offset`, or from 0 where that is impossible or it is no longer `known`."""
        with self._answer("GET", url, _range_of(offset, known), patience) as answer:
            coding = answer.headers.get("Content-Encoding", "identity").lower()
            if coding != "identity":
                raise _unreadable(url, f"the server sends it compressed ({coding})", "Download it, and name the file.")
            facts, start = _facts(answer), _first_byte(answer)
            if start != offset and start:
                raise ServiceFault(FaultKind.CUT, f"the server sent another range (from byte {start:,})", _LATER)
            yield Body(facts, start, _blocks(answer, patience), has_end=_has_end(answer))

    @contextmanager
    def _answer(
        self, method: str, url: str, headers: Mapping[str, str], patience: Patience
    ) -> Iterator[httpx.Response]:
        """Yield the server's successful answer, the headers read. Raises FetchError or ServiceFault for another."""
        with _TimeLimit(patience.seconds_left) as limit:
            answer = self._followed(method, url, headers, patience, limit)
            try:
                _require_success(url, answer)
                yield answer
            finally:
                with suppress(httpx.HTTPError):
                    answer.close()

    def _followed(
        self, method: str, url: str, headers: Mapping[str, str], patience: Patience, limit: _TimeLimit
    ) -> httpx.Response:
        try:
            request = self._client.build_request(method, url, headers=headers, timeout=_timeouts(patience))
        except (httpx.InvalidURL, ValueError) as error:
            why = f"it is not a valid URL ({error})"
            raise _unreadable(url, why, "Correct it in the list.", UnansweredError) from error
        for redirects in range(_REDIRECTS + 1):
            self._require_admitted(url, request.url, FetchError if redirects else UnansweredError)
            request.extensions = {**request.extensions, "trace": limit.trace, "timeout": _timeouts(patience).as_dict()}
            with _requesting(url, request.url, patience, is_redirected=redirects > 0):
                answer = self._client.send(request, stream=True)
            if not answer.has_redirect_location:
                return answer
            patience.answered()
            answer.close()
            assert answer.next_request is not None  # noqa: S101 - of an answer that redirects
            request = answer.next_request
        raise _unreadable(url, f"the server redirects more than {_REDIRECTS} times", "Correct the URL.")

    def _require_admitted(self, url: str, target: httpx.URL, refusal: type[FetchError]) -> None:
        if target.scheme not in {"http", "https"}:
            why = f"it leads to {target.scheme}://, which is not of the web"
            raise _unreadable(url, why, "Correct the URL.", refusal)
        if not self._admits_host(target.host):
            raise _unreadable(
                url,
                f"its host {target.host} is not one of fetch.hosts",
                "Add the host to fetch.hosts if videos may come from it.",
                refusal,
            )


class _TimeLimit:
    """Ends the connections of a request after some seconds, whatever it waits for: a name, headers, or their end."""

    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> _TimeLimit:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Note a connection that was made for the request: a callback of httpcore."""
        # TLS wraps the socket in another one.
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            connection = info["return_value"].get_extra_info("socket")
            if isinstance(connection, socket.socket):
                self._sockets.append(connection)

    def _end(self) -> None:
        for connection in self._sockets:
            # Closed by its owner already, or wrapped. Not the method of TLS, which takes part of the object away.
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _timeouts(patience: Patience) -> httpx.Timeout:
    left = patience.seconds_left
    return httpx.Timeout(min(_SILENCE_SECONDS, left), connect=min(_CONNECT_SECONDS, left), pool=None)


def _range_of(offset: int, known: RemoteFile | None) -> dict[str, str]:
    """Return the headers that ask for the rest of a file; its answer says whether it is still the same one."""
    if not offset or known is None or known.size_bytes is None or not known.has_version:
        # Of a file without a tag or a time, a changed one of the same length could not be told.
        return {}
    return {"Range": f"bytes={offset}-"}


def _facts(answer: httpx.Response) -> RemoteFile:
    headers = answer.headers
    ranged = _RANGE.fullmatch(headers.get("Content-Range", "")) if answer.status_code == 206 else None
    size = (ranged[2] if ranged else "") if answer.status_code == 206 else headers.get("Content-Length", "")
    return RemoteFile(
        int(size) if size.isdecimal() else None,
        plain_tag(headers.get("ETag")),
        _time_of(headers.get("Last-Modified")),
    )


def _first_byte(answer: httpx.Response) -> int:
    if answer.status_code != 206:
        return 0
    ranged = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if ranged is None:
        raise ServiceFault(FaultKind.CUT, "the server sent a part without saying which", _LATER)
    return int(ranged[1])


def _time_of(text: str | None) -> int | None:
    try:
        return int(email.utils.parsedate_to_datetime(text).timestamp()) * _NS if text else None
    except (TypeError, ValueError, OverflowError):
        return None


def _has_end(answer: httpx.Response) -> bool:
    """Whether the end of the content is marked: otherwise it is where the connection ends, for whatever reason."""
    return "Content-Length" in answer.headers or "chunked" in answer.headers.get("Transfer-Encoding", "").lower()


def _blocks(answer: httpx.Response, patience: Patience) -> Iterator[bytes]:
    try:
        yield from answer.iter_raw()
        if patience.is_over and not _has_end(answer):
            raise _silent()  # the time limit has ended the connection
    except httpx.TimeoutException as error:
        raise _silent() from error
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        if patience.is_over:
            raise _silent() from error
        raise ServiceFault(FaultKind.CUT, "the connection ended early", _LATER) from error


@contextmanager
def _requesting(url: str, target: httpx.URL, patience: Patience, *, is_redirected: bool) -> Iterator[None]:
    """Restate the errors of a request up to its headers."""
    host = target.host
    # A host that redirects has been reached, whatever becomes of the one that it names.
    no_connection = FaultKind.MISLED if is_redirected else FaultKind.UNREACHABLE
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise _unreachable(host, "does not answer", no_connection) from error
    except httpx.TimeoutException as error:
        raise _silent() from error
    except (httpx.ConnectError, httpx.ProxyError) as error:
        if certificate := _certificate_fault(error):
            remedy = "If it is one of your own, set SSL_CERT_FILE to its authority's file."
            raise _unreadable(url, f"the certificate of {host} is refused: {certificate}", remedy) from error
        raise _unreachable(host, f"cannot be reached: {_cause(error)}", no_connection) from error
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
        why = f"it cannot be requested ({type(error).__name__})"
        raise _unreadable(url, why, "Correct the URL.", UnansweredError) from error
    except httpx.RemoteProtocolError as error:
        if "location" in str(error).lower():
            raise _unreadable(url, "the server redirects to an invalid address", "Correct the URL.") from error
        if patience.is_over:
            raise _silent() from error
        raise ServiceFault(FaultKind.FAILED, f"{host} closed the connection without an answer", _LATER) from error
    except (httpx.HTTPError, OSError) as error:
        if patience.is_over:
            raise _silent() from error
        raise ServiceFault(FaultKind.FAILED, f"the connection to {host} broke", _LATER) from error


def _require_success(url: str, answer: httpx.Response) -> None:
    status = answer.status_code
    if status in {200, 206}:
        return
    said = f"the server answers {status}{f' {answer.reason_phrase}' if answer.reason_phrase else ''}"
    if status in _GONE:
        raise FetchError(url, FailureReason.MISSING, f"There is no such file: {said}.", "Correct the URL.")
    if status in _DENIED:
        raise _unreadable(url, f"access is denied: {said}", "Put credentials for its host into ~/.netrc.")
    if status == 416:
        raise ServiceFault(FaultKind.CUT, f"the file is shorter than before: {said}", "Run it again.")
    if status in _THROTTLED:
        raise ServiceFault(
            FaultKind.THROTTLED, said, "Run it again later, or with fewer fetch.downloads.", _wait(answer)
        )
    if status >= 500 or status in {408, 425}:
        raise ServiceFault(FaultKind.FAILED, said, _LATER, _wait(answer))
    raise _unreadable(url, said, "Correct the URL.")


def _wait(answer: httpx.Response) -> float:
    """Return how many seconds the server asks to wait: a number or a date."""
    asked = answer.headers.get("Retry-After", "").strip()
    if asked.isdecimal():
        return float(asked)
    at = _time_of(asked)
    return 0.0 if at is None else max(0.0, at / _NS - time.time())


def _certificate_fault(error: BaseException) -> str:
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, ssl.SSLCertVerificationError):
            return each.verify_message
        each = each.__cause__ or each.__context__
    return ""


def _cause(error: BaseException) -> str:
    """Return what the system says of a connection that failed."""
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, OSError) and each.strerror:
            return each.strerror
        each = each.__cause__ or each.__context__
    return str(error) or type(error).__name__


def _unreachable(host: str, what: str, kind: FaultKind) -> ServiceFault:
    return ServiceFault(kind, f"{host} {what}", "Check the network and the name of the host.")


def _silent() -> ServiceFault:
    return ServiceFault(FaultKind.SILENT, "nothing arrived for a while", "Check the network, or run it again later.")


def _unreadable(url: str, why: str, remedy: str, kind: type[FetchError] = FetchError) -> FetchError:
    return kind(url, FailureReason.UNREADABLE, f"The video cannot be fetched: {why}.", remedy)
