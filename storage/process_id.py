"""Identifiers of processes that are not reused."""

from __future__ import annotations

import os
from pathlib import Path


def own_process() -> str:
    """Return the identifier of this process."""
    return process_of(os.getpid())


def process_of(process_id: int) -> str:
    """Return `id@start` of a process, with its start time in clock ticks since boot; `id@gone` if there is none.

    A zombie, which only waits for its parent to read its exit status, is gone.
    """
    try:
        # Fields 3 and 22 of proc(5); the second field, in parentheses, may contain spaces.
        fields = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return f"{process_id}@gone"
    return f"{process_id}@{'gone' if fields[0] == 'Z' else fields[19]}"


def is_alive(process: str) -> bool:
    """Whether the process with this identifier, of this host, still exists. Text of another form names none."""
    process_id = process.partition("@")[0]
    return process_id.isdecimal() and not process.endswith("@gone") and process_of(int(process_id)) == process
