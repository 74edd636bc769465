"""Processes of this machine, as /proc shows them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class LivingProcess(NamedTuple):
    """A process, told from a later one with its id by its start, in clock ticks."""

    pid: int
    start: int
    command: str

    def alive(self) -> bool:
        """Whether it is still there."""
        status = process_status(self.pid)
        return status is not None and status[1] == self.start

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


def process_status(process_id: int) -> tuple[int, int] | None:
    """Return a process's parent and start, in clock ticks, or None when it is gone or only waits to be reaped."""
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else (int(fields[1]), int(fields[19]))


def _command(process_id: int) -> str:
    try:
        return Path(f"/proc/{process_id}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")[:200]
    except OSError:
        return "ended"


def process_tree(process_id: int) -> list[LivingProcess]:
    """Return a process and all below it, also those that lead groups or sessions of their own."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (status := process_status(int(entry.name))) is not None:
            parents[int(entry.name)] = status
    found = {process_id}
    while more := {pid for pid, (parent, _) in parents.items() if parent in found} - found:
        found |= more
    return [LivingProcess(pid, parents[pid][1], _command(pid)) for pid in sorted(found) if pid in parents]


def parent(process_id: int) -> int:
    """Return the id of a living process's parent."""
    status = process_status(process_id)
    assert status is not None
    return status[0]


def running_processes(text: str) -> list[int]:
    """Return the ids of other processes with `text` in their command line."""
    return _processes_with(text, "cmdline")


def processes_that_name(text: str) -> list[int]:
    """Return the ids of other processes with `text` in their command line or environment."""
    return _processes_with(text, "cmdline", "environ")


def _processes_with(text: str, *files: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                shown = b"".join((entry / file).read_bytes() for file in files)
            except OSError:
                continue  # it ended meanwhile
            if text.encode() in shown:
                found.append(int(entry.name))
    return found
