"""Who holds a lease: a process, its machine, and its work."""

from __future__ import annotations

import functools
import os
import shlex
import socket
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from reeldex.remote_urls import redacted
from reeldex.storage.json_codec import Text
from reeldex.storage.process_id import is_alive, own_process

_LONGEST_WORK = 300


@dataclass(frozen=True)
class LeaseOwner:
    """The process that holds a lease.

    `machine` tells apart what a host name does not: reboots, containers, and hosts with equal names. `process` is
    `id@start`, `work` the command line or another description, `since` the time on its own clock, for people.
    """

    host: Text
    machine: Text
    process: Text
    work: Text
    since: Text

    @classmethod
    def this_process(cls, work: str | None = None) -> LeaseOwner:
        """Return this process as an owner; its work is its command line unless it is given."""
        # Whoever can read the store can read this.
        text = redacted(shlex.join(sys.argv) if work is None else work)
        shown = text if len(text) <= _LONGEST_WORK else f"{text[:_LONGEST_WORK]}..."
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(socket.gethostname(), this_machine(), own_process(), shown, since)

    @property
    def is_here(self) -> bool:
        """Whether this process can see whether the owner is alive: it runs on this machine, in the same container."""
        return (self.host, self.machine) == (socket.gethostname(), this_machine())

    @property
    def has_ended(self) -> bool:
        """Whether the owner has certainly ended. False for one that cannot be seen from here."""
        return self.is_here and not is_alive(self.process) and not _is_hidden(self.process)

    def __str__(self) -> str:
        process = self.process.partition("@")[0]
        return f"process {process} on {self.host} since {self.since} ({self.work})"


def _is_hidden(process: str) -> bool:
    """Whether a process may exist although /proc does not show it: that of another user, where /proc hides those."""
    process_id = process.partition("@")[0]
    try:
        os.kill(int(process_id), 0)
    except PermissionError:
        return not Path(f"/proc/{process_id}").exists()
    except (ProcessLookupError, ValueError, OverflowError):
        pass
    return False


@functools.cache
def this_machine() -> str:
    """Return what identifies this boot of this machine, and within it the namespace of process ids (a container)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        # Nothing to tell machines apart: owners then count as alive as long as they renew their leases.
        return f"unknown/{os.getpid()}"
