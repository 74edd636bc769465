"""The middleware that checks every request and websocket, for the search page and for Prefect's server."""

from __future__ import annotations

import html
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, RedirectResponse, Response

from reeldex.search.page.access_secret import without_token
from reeldex.search.page.problems import Problem
from reeldex.search.page.request_source import RequestSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from reeldex.search.page.access_secret import AccessSecret

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_POLICY_VIOLATION = 1008  # of RFC 6455

HEADERS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class RequestGuard:
    """ASGI middleware in front of `app` that rejects requests from other sites' pages and other users.

    - Only `host_names` are answered, and only pages of this server's own origin; another port is another origin.
      A link from elsewhere opens what `is_page` accepts, of which the page with the link sees nothing.
    - With a `secret`, all but `open_paths` needs it: in the Authorization header, or in a cookie that a browser gets
      once it opens a page with the token in its address.
    - Websockets are closed before they are accepted. Those that no browser opened and that bring no secret are given
      to `asks_later`, if there is one, which has to ask for it.
    - `headers` are set on every answer.
    """

    def __init__(  # noqa: PLR0913 - parts of one policy
        self,
        app: ASGIApp,
        *,
        is_page: Callable[[str], bool],
        host_names: Sequence[str] = LOOPBACK_NAMES,
        headers: Mapping[str, str] = HEADERS,
        secret: AccessSecret | None = None,
        open_paths: frozenset[str] = frozenset(),
        asks_later: ASGIApp | None = None,
    ) -> None:
        self._app = app
        self._is_page = is_page
        self._host_names = frozenset(name.lower() for name in host_names)
        self._headers = dict(headers)
        self._secret = secret
        self._open_paths = open_paths
        self._asks_later = asks_later

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or reject it."""
        if scope["type"] == "http":
            await self._answer(scope, receive, self._with_headers(send))
        elif scope["type"] == "websocket":
            await self._connect(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _with_headers(self, send: Send) -> Send:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                # No other origin gets access, whatever headers the application sets.
                for name in [name for name in headers if name.startswith("access-control-")]:
                    del headers[name]
                for name, value in self._headers.items():
                    headers[name] = value
            await send(message)

        return send_with_headers

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            source = RequestSource(scope, self._host_names)
            source.require_no_form()
            source.require_page_for_links(self._is_page(scope["path"]))
            response = self._require_secret(scope, source)
        except Problem as problem:
            response = problem.response()
        await (response or self._app)(scope, receive, send)

    def _require_secret(self, scope: Scope, source: RequestSource) -> Response | None:
        """Return the response that replaces the application's, or None if the request may pass."""
        if self._secret is None or scope["path"] in self._open_paths:
            return None
        reads_page = source.only_reads and self._is_page(scope["path"])
        if reads_page and self._secret.is_in_query(scope):
            cookie = {"set-cookie": self._secret.set_cookie(), "cache-control": "no-store"}
            return RedirectResponse(without_token(scope), HTTPStatus.SEE_OTHER, headers=cookie)
        return None if _is_owners(self._secret, scope, source) else _ask_for(self._secret, source)

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            source = RequestSource(scope, self._host_names)
        except Problem:
            await _close(receive, send)
            return
        if self._secret is None or _is_owners(self._secret, scope, source):
            await self._app(scope, receive, send)
        elif self._asks_later is not None and not source.is_browser:
            await self._asks_later(scope, receive, send)
        else:
            await _close(receive, send)


def _is_owners(secret: AccessSecret, scope: Scope, source: RequestSource) -> bool:
    # Browsers send cookies with requests of any site; only requests of this server's pages are accepted.
    return secret.is_in_header(scope) or (source.may_use_cookie and secret.is_in_cookie(scope))


async def _close(receive: Receive, send: Send) -> None:
    await receive()  # its handshake
    await send({"type": "websocket.close", "code": _POLICY_VIOLATION})


def _ask_for(secret: AccessSecret, source: RequestSource) -> Response:
    if not (source.only_reads and source.wants_page):
        return Problem(HTTPStatus.UNAUTHORIZED, "secret", secret.hint).response()
    # A browser that another site leads here sends no cookie the first time. Led on by this page, it does.
    again = '<meta http-equiv="refresh" content="0">' if source.is_foreign_navigation else ""
    head = f'<!DOCTYPE html><html lang="en"><head><title>reeldex</title>{again}</head>'
    page = f"{head}<body><p>{html.escape(secret.hint)}</p></body></html>"
    return HTMLResponse(page, HTTPStatus.UNAUTHORIZED, headers={"cache-control": "no-store"})
