"""The guard of a Prefect server of ours in front of a small application, over real sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, NamedTuple

import pytest

from reeldex.flows.server.access import UVICORN_OPTIONS, guarded
from reeldex.flows.server.secret_file import CLIENT_VARIABLE
from tests.waiting import wait_until

SECRET = "reeldex:" + "k" * 43
Message = MutableMapping[str, Any]


class RecordingApp:
    """Answers every request with 200 and repeats what a websocket says; `seen` lists what reached it."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "http":
            self.seen.append(f"{scope['method']} {scope['path']}")
            headers = [(b"access-control-allow-origin", b"*"), (b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"the application"})
        else:
            self.seen.append(f"WEBSOCKET {scope['path']}")
            await receive()
            subprotocol = "prefect" if "prefect" in scope["subprotocols"] else None
            await send({"type": "websocket.accept", "subprotocol": subprotocol})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": f"heard {message['text']}"})


class Guarded(NamedTuple):
    """A running server: its port, and the application behind the guard."""

    port: int
    app: RecordingApp

    def ask(self, target: str, *headers: str, method: str = "GET", host: str | None = "") -> tuple[int, str]:
        """Send exactly these lines; return status and whole answer. `host` "" is the right one, None sends none."""
        hosts = [] if host is None else [f"Host: {host or f'127.0.0.1:{self.port}'}"]
        lines = [f"{method} {target} HTTP/1.1", *hosts, "Connection: close", *headers, "", ""]
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall("\r\n".join(lines).encode("latin-1"))
            answer = b""
            with contextlib.suppress(ConnectionError):
                while part := connection.recv(65536):
                    answer += part
                    if b" 101 " in answer[:20]:
                        break
        return int(answer.split(b" ", 2)[1]), answer.decode("latin-1")

    def handshake(self, *headers: str, host: str = "") -> int:
        """Begin a websocket; return the status of the answer: 101 if it was accepted."""
        upgrade = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        lines = ["Connection: Upgrade", *upgrade, *headers]
        return self.ask("/api/events/out", *lines, host=host)[0]


@contextlib.contextmanager
def guarded_server(monkeypatch: pytest.MonkeyPatch, *, no_secret: bool = False) -> Iterator[Guarded]:
    """Serve a recording application behind the guard, as `reeldex.flows.server.application` does with Prefect's."""
    import uvicorn

    monkeypatch.setenv(CLIENT_VARIABLE, SECRET)
    app = RecordingApp()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(guarded(app, no_secret=no_secret), log_config=None, **UVICORN_OPTIONS)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            wait_until(lambda: server.started, 20)
            yield Guarded(listening.getsockname()[1], app)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()
