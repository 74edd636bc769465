"""The guard of a process of flow runs (`python -m reeldex.flows.runs.process_guard PROCESS`), which it outlives.

A killed process cannot report its end, and its worker may have been killed with it. The guard waits on a pipe that only
that process holds, which costs nothing; then it marks the runs of that process as crashed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from urllib.parse import urlsplit

# What the process writes into the pipe before it exits.
FINISHED = b"finished"
# For how long a server that does not answer is asked again: a short restart. Later, `reeldex up` or `reeldex worker`
# finds the runs.
_PATIENCE_SECONDS = 100.0
_PAUSE_SECONDS = 2.0
_CONNECT_SECONDS = 3.0
_MESSAGE = "Its process was killed or has died. Retry, or the same command again, continues where it stopped."


def main(process: str) -> None:
    """Wait for the end of `process`, and report its runs unless it has finished them.

    Returns at once: the guard is a child of no process of the run, so that whoever kills all of them leaves it alone.
    """
    if os.fork():
        return
    # Ctrl-C on a terminal is meant for the process.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with open(0, "rb", closefd=False) as pipe:
        if pipe.read() == FINISHED:
            return
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if _can_connect():
            with contextlib.suppress(Exception):  # the server is ending, or cannot be used
                if not _report(process):
                    return
        elif _is_on_this_host():
            return  # it ends too; whoever starts it again looks for lost runs
        time.sleep(_PAUSE_SECONDS)


def _report(process: str) -> bool:
    """Report the runs of a process; whether one is being cancelled, which its worker may still report."""
    from reeldex.flows.runs.lost_runs import crash_lost_runs, has_runs

    crash_lost_runs(_MESSAGE, process)
    return has_runs(process)


def _server() -> tuple[str, int]:
    address = urlsplit(os.environ.get("PREFECT_API_URL", ""))
    return address.hostname or "", address.port or (443 if address.scheme == "https" else 80)


def _can_connect() -> bool:
    try:
        with socket.create_connection(_server(), _CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _is_on_this_host() -> bool:
    return _server()[0] in {"127.0.0.1", "localhost", "::1", socket.gethostname()}


if __name__ == "__main__":
    main(sys.argv[1])
