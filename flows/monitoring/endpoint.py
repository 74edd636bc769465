"""Serves the metrics of a folder over HTTP: `/metrics` for Prometheus, `/health` for health checks."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType

from reeldex.errors import ReeldexError, UsageError
from reeldex.flows.monitoring.collection import collect
from reeldex.flows.monitoring.metrics import CONTENT_TYPE, exposition

log = logging.getLogger(__name__)


def serve(folder: Path, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `ready` gets the address of the metrics. Raises UsageError for a port in use."""
    try:
        server = ThreadingHTTPServer((host, port), _handler_of(folder))
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"Metrics cannot be served on port {port} of {host}: {error}. Choose others with --port and --host."
        ) from error

    def stop(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=server.shutdown).start()  # which waits for the loop that this handler interrupts

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with server:
            ready(f"http://{host}:{server.server_address[1]}/metrics")
            server.serve_forever(poll_interval=0.2)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handler_of(folder: Path) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers requests for the metrics of one folder."""

        timeout = 10.0

        def do_GET(self) -> None:
            """Answer a request."""
            try:
                self._answer(*self._found())
            except (ReeldexError, OSError) as error:
                log.warning("%s", error)
                self._answer(500, "text/plain; charset=utf-8", f"{error}\n")

        def _found(self) -> tuple[int, str, str]:
            match self.path.partition("?")[0]:
                case "/metrics":
                    return 200, CONTENT_TYPE, exposition(collect(folder))
                case "/health":
                    return 200, "text/plain; charset=utf-8", "ok\n"
            return 404, "text/plain; charset=utf-8", "There are /metrics and /health.\n"

        def _answer(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - http.server's name
            log.debug(format, *arguments)

    return Handler
