"""How long this process has been running."""

from __future__ import annotations

import os
import time
from pathlib import Path


def process_seconds() -> float:
    """Return the seconds since this process was started, the start of Python included."""
    # Field 22 of proc(5) is the start in clock ticks since boot; the second field, in parentheses, may contain spaces.
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
