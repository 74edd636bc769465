"""Limits of the page: lengths of addresses, simultaneous requests, searches per second."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from reeldex.search.page.problems import Problem, busy

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

_LONGEST_PATH = 512
_LONGEST_QUERY = 8192


class RequestLimits:
    """ASGI middleware that rejects long URLs, and more simultaneous requests than `at_once`."""

    def __init__(self, app: ASGIApp, at_once: int) -> None:
        self._app = app
        self._at_once = at_once
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or reject it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        self._inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1

    def _check(self, scope: Scope) -> None:
        if len(scope.get("raw_path") or b"") > _LONGEST_PATH or len(scope["query_string"]) > _LONGEST_QUERY:
            raise Problem(HTTPStatus.REQUEST_URI_TOO_LONG, "too_long", "The address is too long. Use a shorter query.")
        if self._inside >= self._at_once:
            raise busy("The server has too many requests. Try again in a moment.")


class TokenBucket:
    """A rate limit: `at_once` tokens at most, refilled at `per_second`."""

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
