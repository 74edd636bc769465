"""The Prefect server that the user's settings name, or one started as a child process."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from reeldex.errors import UsageError
from reeldex.flows.execution.process_group import Program, start_program

LOOPBACK = "127.0.0.1"
_START_SECONDS = 180.0  # the first start creates a database
_LOOK_SECONDS = 0.1
_LISTENING = "0A"  # in /proc/net/tcp, see proc(5)


def prefect_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of Prefect's profiles and database, unless Prefect's settings name another database."""
    own_home = environment.get("PREFECT_HOME")
    return Path(own_home) if own_home else Path.home() / ".prefect"


def configured_api_url(environment: Mapping[str, str]) -> str | None:
    """Return the server of the user's settings: PREFECT_API_URL, or else Prefect's active profile."""
    return configured_setting(environment, "PREFECT_API_URL")


def configured_setting(environment: Mapping[str, str], name: str) -> str | None:
    """Return a setting of Prefect's by the name of its variable: from the environment, or else the active profile."""
    if environment.get(name):
        return environment[name]
    try:
        profiles = tomllib.loads((prefect_folder(environment) / "profiles.toml").read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError):
        return None
    active = environment.get("PREFECT_PROFILE") or profiles.get("active")
    value = profiles.get("profiles", {}).get(active, {}).get(name)
    return str(value) if value else None


def start_server(
    port: int, log: Path, options: Sequence[str], environment: Mapping[str, str | None] | None = None
) -> Program:
    """Start a server on loopback, with further options of `flows.server.application`; it ends with this process.

    `environment` overrides variables of the inherited environment; None removes one.
    """
    arguments = ["--host", LOOPBACK, "--port", str(port), *options]
    return start_program("reeldex.flows.server.application", arguments, str(log), environment)


def wait_for_server(process: Program, api_url: str, log: Path, stopping: Callable[[], object]) -> None:
    """Wait until a started server answers, or `stopping` is true. Raises UsageError when it ends or takes too long.

    An answer counts only if the started process is listening: another program may have taken the port meanwhile.
    """
    deadline = time.monotonic() + _START_SECONDS
    port = urlsplit(api_url).port or 0
    while not stopping() and not (listens(process.pid or 0, port) and is_healthy(api_url)):
        require_alive("server", process, log)
        if time.monotonic() > deadline:
            raise UsageError(
                f"The Prefect server did not answer at {api_url} within {_START_SECONDS:.0f} seconds. See {log}."
            )
        time.sleep(_LOOK_SECONDS)


def listens(process_id: int, port: int) -> bool:
    """Whether a process listens on a port of loopback; for processes of this user."""
    address = f"{int.from_bytes(socket.inet_aton(LOOPBACK), sys.byteorder):08X}:{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1] == address and row[3] == _LISTENING}
    for descriptor in Path(f"/proc/{process_id}/fd").glob("*"):
        with contextlib.suppress(OSError):  # closed meanwhile
            if os.readlink(descriptor) in sockets:  # noqa: PTH115 - the target is no path
                return True
    return False


def require_alive(name: str, process: Program, log: Path | None) -> None:
    """Raise UsageError, with the end of its log, unless a child process is alive."""
    if not process.is_alive():
        where = "Its log is above." if log is None else f"The end of {log}:\n{_last_lines(log)}"
        raise UsageError(f"The Prefect {name} ended unexpectedly, with exit status {process.exitcode}. {where}")


def is_healthy(api_url: str) -> bool:
    """Whether a server answers there."""
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=5) as answer:  # noqa: S310 - the user's own server
            return bool(answer.status == HTTPStatus.OK)
    except (OSError, http.client.HTTPException):
        return False


def _last_lines(path: Path, count: int = 15) -> str:
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
    except OSError as error:
        return f"(cannot be read: {error})"
