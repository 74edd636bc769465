"""A web server of a test's own on loopback, which answers as it is told: well, slowly, partly, wrongly, or never."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Request", "Page"], None]


class Request(BaseHTTPRequestHandler):
    """A request, and how to answer it."""

    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.site.answer(self)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        """Say nothing: a test looks into `Site.requests`."""

    def head(self, status: int, **headers: str | int) -> None:
        """Send a status and headers; `content_length=3` is Content-Length: 3."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-").title(), str(value))
        self.end_headers()

    def empty(self, status: int, **headers: str | int) -> None:
        """Send an answer without content."""
        self.head(status, content_length=0, **headers)

    def cut(self) -> None:
        """Close the connection."""
        self.wfile.flush()
        self.close_connection = True

    @property
    def wants_body(self) -> bool:
        return self.command == "GET"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    site: Site

    def handle_error(self, *arguments: object) -> None:
        """Say nothing: the client hangs up on many of these answers."""


@dataclass
class Page:
    """A file of the site; `answer` replaces the usual one."""

    content: bytes = b""
    answer: Answer | None = None
    etag: str | None = ""
    ranges: bool = True
    attempts: int = 0  # of GET

    @property
    def tag(self) -> str | None:
        return f'"{hashlib.sha256(self.content).hexdigest()[:16]}"' if self.etag == "" else self.etag

    @property
    def headers(self) -> dict[str, str]:
        return {"etag": self.tag} if self.tag else {}

    def serve(self, request: Request, *, stop_after: int | None = None) -> None:
        """Send the file, or the range that is asked for; with `stop_after` only so many bytes of it."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", "")) if self.ranges else None
        start = int(asked[1]) if asked else 0
        end = int(asked[2]) + 1 if asked and asked[2] else len(self.content)
        part = self.content[start:end]
        ranged = {"content_range": f"bytes {start}-{end - 1}/{len(self.content)}"} if asked else {}
        request.head(206 if asked else 200, content_length=len(part), **ranged, **self.headers)
        if request.wants_body:
            request.wfile.write(part[:stop_after])
            if stop_after is not None and stop_after < len(part):
                request.cut()


@dataclass
class Site:
    """Pages by their paths, and what was asked for: `GET /a.mp4`, with ` bytes=5-` for a range."""

    pages: dict[str, Page] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)
    port: int = 0
    active: int = 0
    most_active: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def answer(self, request: Request) -> None:
        page = self.pages.get(request.path)
        with self._lock:
            ranged = request.headers.get("Range")
            self.requests.append(f"{request.command} {request.path}{f' {ranged}' if ranged else ''}")
            self.seen.append(dict(request.headers.items()))
            self.active += 1
            self.most_active = max(self.most_active, self.active)
            if page is not None and request.wants_body:
                page.attempts += 1
        try:
            if page is None:
                request.empty(404)
            elif page.answer is not None:
                page.answer(request, page)
            else:
                page.serve(request)
        finally:
            with self._lock:
                self.active -= 1

    def gets(self, path: str) -> list[str]:
        """Return the GET requests for a path."""
        return [each for each in self.requests if each.split()[:2] == ["GET", path]]


@contextmanager
def site() -> Iterator[Site]:
    """Run a server on a free port of loopback."""
    server = _Server(("127.0.0.1", 0), Request)
    server.site = Site(port=server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.site
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def always(status: int, **headers: str | int) -> Answer:
    """Answer each request with this status."""
    return lambda request, _: request.empty(status, **headers)


def first(count: int, answer: Answer) -> Answer:
    """Answer the first requests for the content in this way, and the others well."""

    def either(request: Request, page: Page) -> None:
        if request.wants_body and page.attempts <= count:
            answer(request, page)
        else:
            page.serve(request)

    return either


def for_content(answer: Answer) -> Answer:
    """Answer requests for the content in this way, and those for the headers alone well."""
    return lambda request, page: answer(request, page) if request.wants_body else page.serve(request)


def cut_after(count: int) -> Answer:
    """Send so many bytes of the content, and close the connection."""
    return lambda request, page: page.serve(request, stop_after=count)


def endless(request: Request, _: Page) -> None:
    """Send content without an end, and without a length."""
    request.head(200, transfer_encoding="chunked")
    block = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    while request.wants_body:
        request.wfile.write(block)


def dripping(request: Request, page: Page) -> None:
    """Send a byte now and then."""
    request.head(200, content_length=len(page.content))
    for at in range(len(page.content) if request.wants_body else 0):
        request.wfile.write(page.content[at : at + 1])
        request.wfile.flush()
        time.sleep(0.1)  # time is tested: of a slow server


def silent(request: Request, _: Page) -> None:
    """Send nothing for a while."""
    del request
    time.sleep(30)  # time is tested: of a silent server


def dripping_headers(request: Request, _: Page) -> None:
    """Send headers without an end."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    for _each in range(600):
        request.wfile.write(b"a")
        request.wfile.flush()
        time.sleep(0.05)  # time is tested: of a slow server
