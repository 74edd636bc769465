"""The Prefect server of a command that is run without one: it serves this process alone, and ends with it."""

from __future__ import annotations

import atexit
import functools
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flows.server_process import LOOPBACK, configured_api_url, prefect_folder, start_server, wait_for_server

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess


@contextmanager
def prefect_server() -> Iterator[None]:
    """Have the block's flows use the server that the user's settings name, or else a temporary one.

    Raises UsageError when that does not start.
    """
    if configured_api_url(os.environ) or _set_in_this_process():
        yield
        return
    url = _started()
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url}):
        yield


def is_temporary(api_url: str) -> bool:
    """Whether a server is this process's temporary one, which nobody can look at."""
    return bool(_started.cache_info().currsize) and api_url == _started()


def _set_in_this_process() -> bool:
    # What has not been imported has no settings besides the environment and the profile.
    if "prefect" not in sys.modules:
        return False
    from prefect.settings import get_current_settings

    return get_current_settings().api.url is not None


@functools.cache
def _started() -> str:
    """Start the server and return its API's address once it answers; later calls return the same one."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    folder = prefect_folder(os.environ)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "temporary-server.log"
    api_url = f"http://{LOOPBACK}:{port}/api"
    server = start_server(port, log, "--temporary")
    atexit.register(_end, server)
    import prefect.flows  # noqa: F401 - imported while the server starts, which takes longer

    wait_for_server(server, api_url, log, lambda: False)
    return api_url


def _end(server: SpawnProcess) -> None:
    server.terminate()
    server.join(5)
    server.kill()
    server.join()
