"""Running servers of this user's `reeldex up`, so that the secret is only sent to them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

from reeldex.errors import UsageError
from reeldex.flows.server.process import configured_setting
from reeldex.flows.server.secret_file import CLIENT_VARIABLE, SERVER_VARIABLE, load_secret, secret_file
from reeldex.user_folders import make_writable, state_folder

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LOCKED: list[int] = []  # file descriptors
_LOCK_SECONDS = 2.0


def announce(api_url: str) -> None:
    """Announce to other processes of this user that the server at `api_url` is the user's, until this process ends."""
    path = _file(urlsplit(api_url).port)
    make_writable(path.parent, "XDG_STATE_HOME")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    # The kernel releases the lock when this process ends, however it ends: then another program may use the port.
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Processes that check the lock hold it briefly.
            if isinstance(error, BlockingIOError) and time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            os.close(descriptor)
            raise UsageError(
                f"{path} cannot be locked ({error.strerror}): another `reeldex up` with this port holds it, or its "
                "file system has no locks. Choose another --port, or another folder with XDG_STATE_HOME."
            ) from error
        _LOCKED.append(descriptor)
        return


def find_secret(api_url: str) -> None:
    """Make this process send the secret if `api_url` is a running server of this user.

    A secret that the user has set is kept. Raises UsageError when the file of the secret cannot be used.
    """
    if configured_setting(os.environ, CLIENT_VARIABLE) is None and is_running_server(api_url):
        if password := configured_setting(os.environ, SERVER_VARIABLE):
            # The user has enabled Prefect's own check, also for the running server, unless that was started before.
            os.environ[CLIENT_VARIABLE] = password
            return
        with contextlib.suppress(FileNotFoundError):  # a server without a secret
            os.environ[CLIENT_VARIABLE] = load_secret(secret_file())


def is_running_server(api_url: str) -> bool:
    """Whether `api_url` is a running server of this user's `reeldex up`."""
    try:
        address = urlsplit(api_url)
        port = address.port
    except ValueError:
        return False
    if address.scheme != "http" or address.hostname not in _LOOPBACK or port is None:
        return False
    try:
        descriptor = os.open(_file(port), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(descriptor)
    return False


def _file(port: int | None) -> Path:
    # Machines may share a home folder, but not ports.
    return state_folder() / "servers" / socket.gethostname() / str(port)
