"""The Prefect server of a command that is run without one: it serves this process alone, and ends with it."""

from __future__ import annotations

import atexit
import functools
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from reeldex.flows.server.access import SERVER_VARIABLE, require_access
from reeldex.flows.server.known_servers import find_secret
from reeldex.flows.server.process import LOOPBACK, configured_api_url, prefect_folder, start_server, wait_for_server
from reeldex.flows.server.secret_file import CLIENT_VARIABLE, new_secret

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess


@contextmanager
def prefect_server() -> Iterator[None]:
    """Have the block's flows use the server that the user's settings name, or else a temporary one.

    The secret of a server of `reeldex up` is found for it. Raises UsageError when the server refuses this user, and
    when a temporary one does not start.
    """
    api_url = configured_api_url(os.environ)
    if api_url is not None:
        find_secret(api_url)
        require_access(api_url)
    if api_url is not None or _set_elsewhere():
        yield
        return
    server = _started()
    from prefect.events.worker import EventsWorker
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: server.api_url, PREFECT_API_AUTH_STRING: server.secret}):
        try:
            yield
        finally:
            # What sends events keeps to the server that it first had; it is not to meet another one, or none.
            EventsWorker.drain_all()


def is_temporary(api_url: str) -> bool:
    """Whether a server is this process's temporary one, which nobody can look at."""
    return bool(_started.cache_info().currsize) and api_url == _started().api_url


def _set_elsewhere() -> bool:
    # Prefect knows further places for its settings, such as prefect.toml and pyproject.toml.
    from prefect.settings import get_current_settings

    return get_current_settings().api.url is not None


class _Server(NamedTuple):
    api_url: str
    secret: str


@functools.cache
def _started() -> _Server:
    """Start the server and return how to reach it once it answers; later calls return the same one."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    folder = prefect_folder(os.environ)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "temporary-server.log"
    found = _Server(f"http://{LOOPBACK}:{port}/api", new_secret())
    server = start_server(port, log, ["--temporary"], {CLIENT_VARIABLE: found.secret, SERVER_VARIABLE: None})
    atexit.register(_end, server)
    import prefect.flows  # noqa: F401 - imported while the server starts, which takes longer

    wait_for_server(server, found.api_url, log, lambda: False)
    return found


def _end(server: SpawnProcess) -> None:
    server.terminate()
    server.join(5)
    server.kill()
    server.join()
