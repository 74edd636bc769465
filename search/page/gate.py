"""What every request has to pass, and what every answer carries."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from search.page.problems import Problem, busy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LONGEST_PATH = 512
_LONGEST_QUERY = 8192

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        # blob: is how a page hands joined pieces of video to its own player.
        "media-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Gate:
    """Turns away strange hosts, other sites' pages, oversized requests, and more requests at once than `at_once`."""

    def __init__(self, app: ASGIApp, host_names: Sequence[str], at_once: int) -> None:
        self._app = app
        self._host_names = {name.lower() for name in host_names}
        self._at_once = at_once
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or turn it away."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            self._check(scope)
            if self._inside >= self._at_once:
                raise busy("The server has as many requests as it can take. Try again in a moment.")
        except Problem as problem:
            await problem.response()(scope, receive, send_with_headers)
            return
        self._inside += 1
        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            self._inside -= 1

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        # A page elsewhere could reach this server under a name of its own that resolves to loopback.
        if _host_name(headers.get("host", "")) not in self._host_names:
            raise Problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                "host",
                f"This server answers to {', '.join(sorted(self._host_names))} only. Use one of these in the address.",
            )
        if headers.get("sec-fetch-site") == "cross-site" and scope["path"] != "/":
            raise Problem(
                HTTPStatus.FORBIDDEN, "cross_site", "Another site's page asked for this; it is not given to it."
            )
        if len(scope.get("raw_path") or b"") > _LONGEST_PATH or len(scope["query_string"]) > _LONGEST_QUERY:
            raise Problem(HTTPStatus.REQUEST_URI_TOO_LONG, "too_long", "The address is too long. Use a shorter query.")


def _host_name(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()


class Rate:
    """A bucket of tokens: so many at once, refilled at so many a second."""

    def __init__(self, per_second: float, at_once: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._most = float(at_once)
        self._tokens = float(at_once)
        self._clock = clock
        self._filled = clock()

    def take(self) -> None:
        """Take a token. Raises Problem (429) when there is none."""
        now = self._clock()
        self._tokens = min(self._most, self._tokens + (now - self._filled) * self._per_second)
        self._filled = now
        if self._tokens < 1:
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "rate", "Too many searches at once. Try again in a moment.")
        self._tokens -= 1
