"""A server of S3 on this machine, for the real client: it counts requests, and fails as it is told."""

from __future__ import annotations

import functools
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

KEY, SECRET = "AKIAREELDEXTEST", "the-secret-of-the-tests-0123456789"
HEADERS = "tests.headers"
_MOST_AT_ONCE = 40  # more than any client here opens connections


@dataclass(frozen=True)
class Request:
    """A request: its method, path with the query, and range (`bytes=0-9`, or empty)."""

    method: str
    path: str
    range: str

    @property
    def bytes_asked(self) -> int | None:
        """The length of its range; None without one."""
        if not self.range:
            return None
        first, _, last = self.range.removeprefix("bytes=").partition("-")
        return int(last) - int(first) + 1


@dataclass(frozen=True)
class Fault:
    """An answer in place of the server's, to requests that are `meant`, after `seconds`; without a status, none."""

    status: int | None = None
    code: str = ""
    seconds: float = 0.0
    meant: Callable[[Request], bool] = lambda _: True


@dataclass
class ObjectStore:
    """The server: its address, what it was asked, and how it is to fail, `times` for each fault.

    Unless it is `conditional`, it does not know If-None-Match, like servers of some makers; others know it, but do not
    name the condition that was not met, as this one unless `names_condition`. `scheme` is of the URLs of what it
    stores.
    """

    url: str = ""
    scheme: str = "s3"
    requests: list[Request] = field(default_factory=list)
    faults: list[list[Any]] = field(default_factory=list)
    conditional: bool = True
    names_condition: bool = True
    at_once: int = 0
    most_at_once: int = 0

    def fail(self, fault: Fault, times: int = 1_000_000) -> None:
        """Answer the next `times` requests that are meant with a fault."""
        self.faults.append([fault, times])

    def heal(self) -> None:
        """Answer as a server does."""
        self.faults.clear()
        self.conditional = self.names_condition = True

    def asked(self, method: str, part: str = "") -> list[Request]:
        """Return the requests so far with this method and this part of the path."""
        return [each for each in self.requests if each.method == method and part in each.path]

    def _fault_of(self, request: Request) -> Fault | None:
        for entry in self.faults:
            if entry[1] > 0 and entry[0].meant(request):
                entry[1] -= 1
                found: Fault = entry[0]
                return found
        return None

    def _described(self, fault: Fault) -> tuple[str, bytes]:
        """Return the type and the content of an answer, as the service words it."""
        if self.scheme == "gs":
            error = {"code": fault.status, "message": "as the test says", "errors": [{"reason": fault.code}]}
            return "application/json", json.dumps({"error": error}).encode()
        text = f"<Error><Code>{fault.code}</Code><Message>as the test says</Message></Error>"
        return "application/xml", text.encode()

    def application(self, inner: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        """Return a WSGI application around the server's."""

        def answer(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            query = environment.get("QUERY_STRING", "")
            path = environment["PATH_INFO"] + (f"?{query}" if query else "")
            # Azure's client has a header of its own.
            asked = environment.get("HTTP_RANGE", "") or environment.get("HTTP_X_MS_RANGE", "")
            request = Request(environment["REQUEST_METHOD"], path, asked)
            self.requests.append(request)
            fault = self._fault_of(request)
            if fault is not None:
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                time.sleep(fault.seconds)  # time is tested: of a slow server
                self.at_once -= 1
                if fault.status is not None:
                    environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
                    kind, body = self._described(fault)
                    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
                    start(f"{fault.status} Fault", [*headers, ("x-ms-error-code", fault.code)])
                    return [b"" if request.method == "HEAD" else body]
            if not self.conditional:
                environment.pop("HTTP_IF_NONE_MATCH", None)
            return inner(environment, start) if self.names_condition else _without_condition(inner, environment, start)

        return answer


def _without_condition(
    inner: Callable[..., Iterable[bytes]],
    environment: dict[str, Any],
    start: Callable[..., Any],
) -> list[bytes]:
    """Return a server's answer without the element of errors that names the condition."""
    begun: list[Any] = []
    body = b"".join(inner(environment, lambda *arguments: begun.extend(arguments)))
    shorter = re.sub(b"<Condition>.*?</Condition>", b"", body)
    # The answer to HEAD has a length but no body.
    length = [("Content-Length", str(len(shorter)))] if shorter != body else []
    start(begun[0], [*(each for each in begun[1] if not length or each[0].lower() != "content-length"), *length])
    return [shorter]


@contextmanager
def serving(application: Callable[..., Iterable[bytes]]) -> Iterator[str]:
    """Serve a WSGI application on a free port while the block runs; yield its URL.

    The environment of a request has its address as it came as `RAW_URI`, and its headers as `HEADERS`.
    """
    from cheroot.server import HTTPConnection
    from cheroot.wsgi import Gateway_10, Server

    class AsItCame(Gateway_10):
        def get_environ(self) -> dict[str, Any]:  # type: ignore[override] # its stub says that it returns None
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.req.inheaders.items()}
            environment: dict[str, Any] = super().get_environ()  # type: ignore[no-untyped-call]
            address = self.req.uri.decode("latin-1")
            # Its own path keeps slashes that are quoted, as in the names of objects at Google.
            path = unquote(address.partition("?")[0], "latin-1")
            return {**environment, "PATH_INFO": path, "RAW_URI": address, HEADERS: headers}

    class Closed(HTTPConnection):
        def close(self) -> None:
            # What a client that was killed has not read: nobody else closes this file, and Python 3.13 reports that.
            with suppress(OSError):
                self.wfile.close()
            super().close()

    server = Server(("127.0.0.1", 0), application, numthreads=_MOST_AT_ONCE)
    server.gateway = AsItCame
    server.ConnectionClass = Closed
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.bind_addr[1]}"
    finally:
        server.stop()
        thread.join()


@contextmanager
def running() -> Iterator[ObjectStore]:
    """Run the server while the block runs."""
    from moto.moto_server.werkzeug_app import create_backend_app

    store = ObjectStore()
    # Not through the dispatcher of all services, which searches the folders of all moto at each request.
    with serving(store.application(create_backend_app("s3"))) as store.url:
        yield store


@contextmanager
def bucket(store: ObjectStore) -> Iterator[Any]:
    """Make the empty bucket `lab`, yield a client of it, and remove it with all that it holds.

    The servers of one process share what they store: a bucket that stays is the next test's.
    """
    plain = client(store)
    assert not plain.list_buckets()["Buckets"], "a test left its bucket behind"
    plain.create_bucket(Bucket="lab")
    try:
        yield plain
    finally:
        store.heal()
        for page in plain.get_paginator("list_objects_v2").paginate(Bucket="lab"):
            for each in page.get("Contents", []):
                plain.delete_object(Bucket="lab", Key=each["Key"])
        plain.delete_bucket(Bucket="lab")


def client(store: ObjectStore) -> Any:  # noqa: ANN401 - botocore makes its classes when asked
    """Return a plain client of the server, which does not go through reeldex."""
    return _client(store.url)


@functools.cache  # making one takes more than what most tests ask of it
def _client(url: str) -> Any:  # noqa: ANN401
    import botocore.session

    return botocore.session.get_session().create_client(
        "s3", "us-east-1", endpoint_url=url, aws_access_key_id=KEY, aws_secret_access_key=SECRET
    )
