"""Serve the page over HTTP."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import uvicorn

from reeldex.search.page.app import make_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from reeldex.search.page.options import PageOptions
    from reeldex.search.page.searcher import Searcher

log = logging.getLogger(__name__)
DEFAULT_PORT = 8765


def serve(
    searcher: Searcher,
    options: PageOptions,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the page until SIGINT or SIGTERM; `ready` is called with its URL once it listens.

    Port 0 is any free one. A `host` that is not loopback is accepted as a host name, besides those of
    `options.host_names`: anyone who can reach it can watch every video of the index, since there is no password.
    Raises OSError when the port is taken.
    """
    address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(address_family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
        named = f"[{host}]" if ":" in host else host
        if not _is_loopback(host):
            log.warning(
                "The page listens on %s: anyone who can reach this machine can watch every video of the index.", host
            )
            options = replace(options, host_names=(*options.host_names, named))
        app = make_app(searcher, options)
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            # Paused players keep their connection open; they must not delay the shutdown.
            timeout_graceful_shutdown=3,
            timeout_keep_alive=10,
        )
        server = _Server(config)
        server.tell_started = lambda: ready and ready(f"http://{named}:{listening.getsockname()[1]}/")
        server.tell_stopping = app.close
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after a graceful shutdown
            server.run(sockets=[listening])


class _Server(uvicorn.Server):
    tell_started: Callable[[], object]
    tell_stopping: Callable[[], object]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self.tell_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Before the wait for open requests, which may be waiting for ffmpeg.
        self.tell_stopping()
        await super().shutdown(sockets=sockets)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
