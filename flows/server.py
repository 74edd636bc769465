"""Prefect's server with one fault mended: on SQLite it turns requests away that only had to be asked again.

A request that reads and then writes while another one commits is refused by SQLite at once, whatever time-out is set
(SQLITE_BUSY_SNAPSHOT), and answered with 503. Prefect's own client asks again; its UI does not, so that a press of
Submit came to nothing every now and then. Nothing of such a request has been written: here it is done again.
"""

from __future__ import annotations

import argparse
import asyncio
import http
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from flows.server_access import UVICORN_OPTIONS, guarded

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]

_TRIES = 20
_PAUSE_SECONDS = 0.1
_LARGEST_BODY_BYTES = 16 * 2**20  # a larger one is not kept for another try


class AskAgain:
    """An ASGI application that gives a request to `app` again when it was answered with 503."""

    def __init__(self, app: _App, pause_seconds: float = _PAUSE_SECONDS) -> None:
        self._app = app
        self._pause_seconds = pause_seconds

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Serve one request; what is no HTTP request is passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, whole = await _read(receive)
        for attempt in range(1, _TRIES + 1):
            last = attempt == _TRIES or not whole
            if await self._serve(scope, _from_memory(body, receive), send, last=last):
                return
            await asyncio.sleep(self._pause_seconds)

    async def _serve(self, scope: _Message, receive: _Receive, send: _Send, *, last: bool) -> bool:
        """Give the request to the application; return False if it was turned away and nothing was sent."""
        turned_away = False

        async def send_unless_turned_away(message: _Message) -> None:
            nonlocal turned_away
            if message["type"] == "http.response.start":
                turned_away = message["status"] == http.HTTPStatus.SERVICE_UNAVAILABLE and not last
            if not turned_away:
                await send(message)

        try:
            # A copy: the application notes its own things in it.
            await self._app(dict(scope), receive, send_unless_turned_away)
        except Exception:  # the error behind an answer is raised after it, for a log
            if not turned_away:
                raise
        return not turned_away


async def _read(receive: _Receive) -> tuple[list[_Message], bool]:
    """Return the messages of a request's body, and whether that is all of it."""
    messages: list[_Message] = []
    size = 0
    while True:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            return messages, True
        if size > _LARGEST_BODY_BYTES:
            return messages, False


def _from_memory(messages: list[_Message], receive: _Receive) -> _Receive:
    kept = iter(messages)

    async def receive_again() -> _Message:
        message = next(kept, None)
        return dict(message) if message is not None else await receive()

    return receive_again


def main() -> None:
    """Serve until SIGTERM comes."""
    import uvicorn
    from prefect.server.api.server import create_app

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--no-secret", action="store_true")
    arguments = parser.parse_args()
    os.environ["PREFECT_SERVER_API_HOST"], os.environ["PREFECT_SERVER_API_PORT"] = arguments.host, str(arguments.port)
    app = guarded(AskAgain(create_app(final=True)), no_secret=arguments.no_secret)
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning", **UVICORN_OPTIONS)


if __name__ == "__main__":
    main()
