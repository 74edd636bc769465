"""A lock on a folder for a single writer, and the record of its holder."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from reeldex.remote_urls import redacted
from reeldex.storage.atomic import publish_text
from reeldex.storage.errors import StoreBusyError
from reeldex.storage.write_errors import UnwritableError, lasting_fault

LOCK = ".lock"
HOLDER = ".lock-holder.json"


@contextmanager
def hold_lock(root: Path, wait_seconds: float, what: str = "store", work: str | None = None) -> Iterator[None]:
    """Hold the lock of a folder while the block runs; wait for it at most `wait_seconds`.

    `what` names the kind of folder in messages. `work` describes the holder's work; by default it is this process's
    command line. The operating system releases the lock when its holder ends. Raises StoreBusyError naming the holder,
    and UnwritableError where the folder cannot be written.
    """
    lock = FileLock(root / LOCK, timeout=max(0.0, wait_seconds))
    try:
        lock.acquire()
    except Timeout as timeout:
        raise StoreBusyError(
            f"The {what} {root} is in use by {describe_holder(root)}. Wait until that run has ended, or end "
            f"it; the lock is released when that process ends. Reading the {what} needs no lock."
        ) from timeout
    except OSError as error:
        if fault := lasting_fault(root / LOCK, error):
            raise fault.about(root) from error
        raise
    try:
        try:
            publish_text(root / HOLDER, json.dumps(_this_process(work), indent=1) + "\n")
        except UnwritableError as fault:
            raise fault.about(root) from fault
        yield
    finally:
        # An error of the block takes precedence over this file, which a killed holder leaves too.
        with suppress(OSError):
            (root / HOLDER).unlink(missing_ok=True)
        lock.release()


def _this_process(work: str | None) -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": redacted(shlex.join(sys.argv) if work is None else work),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def describe_holder(root: Path) -> str:
    """Return who holds the lock of a folder and since when, as far as it has been recorded."""
    try:
        holder = json.loads((root / HOLDER).read_bytes())
        return f"process {holder['pid']} on {holder['host']} since {holder['started']} ({holder['command']})"
    except (OSError, ValueError, TypeError, KeyError):
        # The holder writes this file just after acquiring the lock, so it can be absent or incomplete.
        return "another process, which has not recorded its name yet"
