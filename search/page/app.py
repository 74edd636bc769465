"""The page as a web application: its routes, its static files, and its error responses."""

from __future__ import annotations

import hashlib
import logging
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from reeldex.embedding.errors import EmbeddingError
from reeldex.search.errors import SearchError
from reeldex.search.page.answers import Answers
from reeldex.search.page.problems import Problem, from_search
from reeldex.search.page.request_guard import HEADERS, RequestGuard
from reeldex.search.page.request_limits import RequestLimits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from reeldex.search.page.media import Media
    from reeldex.search.page.options import PageOptions
    from reeldex.search.page.searcher import Searcher

log = logging.getLogger(__name__)
_STATIC = Path(__file__).parent / "static"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    **HEADERS,
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        # blob: is the scheme of Media Source Extensions, which play joined segments.
        "media-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
}
_HTTP_MESSAGES = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address. The page itself is at /.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This server accepts only GET and HEAD requests.",
}


def make_app(searcher: Searcher, options: PageOptions) -> PageApp:
    """Return the page over an open index, as an ASGI application. Raises OSError if the cache's folder cannot be made.

    The caller closes the index after the application has ended.
    """
    answers = Answers(searcher, options)

    app = Starlette(
        routes=[
            *(_static_route(file) for file in sorted(_STATIC.iterdir()) if file.suffix in _TYPES),
            Route("/api/about", answers.about),
            Route("/api/search", answers.search),
            Route("/api/like", answers.like),
            Route("/api/playing/{key}", answers.playing),
            Route("/videos/{key}", answers.video),
            Route("/pictures/{key}/{milliseconds}.jpg", answers.picture),
            Route("/segments/{key}/{delivery}/{number}.mp4", answers.segment),
        ],
        exception_handlers={
            Problem: _tell_problem,
            SearchError: _tell_search_error,
            EmbeddingError: _tell_search_error,
            HTTPException: _tell_http_error,
            Exception: _tell_fault,
        },
    )
    # Outside of Starlette's own middleware, so that error responses pass it too.
    limited = RequestLimits(app, options.simultaneous_requests)
    guard = RequestGuard(limited, is_page=lambda path: path == "/", host_names=options.host_names, headers=_HEADERS)
    return PageApp(guard, answers.media)


class PageApp:
    """The page as an ASGI application; `close` ends its ffmpeg processes, and so does the end of its lifespan."""

    def __init__(self, app: ASGIApp, media: Media) -> None:
        self._app = app
        self._media = media

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            await self._app(scope, receive, send)
        finally:
            if scope["type"] == "lifespan":
                self.close()

    def close(self) -> None:
        """End every ffmpeg process; requests that wait for one are answered with an error."""
        self._media.close()


def _static_route(file: Path) -> Route:
    content = file.read_bytes()
    headers = {
        "content-type": f"{_TYPES[file.suffix]}; charset=utf-8",
        "etag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        "cache-control": "no-cache",
    }

    async def serve(request: Request) -> Response:
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(content, headers=headers)

    endpoint: Callable[[Request], Awaitable[Response]] = serve
    return Route("/" if file.name == "index.html" else f"/static/{file.name}", endpoint)


async def _tell_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - Starlette's types are wider than its calls
    return error.response()


async def _tell_search_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, (SearchError, EmbeddingError))  # noqa: S101
    problem = from_search(error)
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("The index cannot answer: %s", error)
    return problem.response()


async def _tell_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    status = HTTPStatus(error.status_code)
    answer = Problem(status, status.name.lower(), _HTTP_MESSAGES.get(status, f"{status.phrase}.")).response()
    answer.headers.update(error.headers or {})
    return answer


async def _tell_fault(_: Request, __: Exception) -> Response:
    # The server logs the error with its stack trace; the browser does not get it.
    message = "Internal server error. The server's log has the details; please report it."
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", message).response()
