"""Counts, durations and sizes as text for people, and times as people write them; raw numbers belong in JSON."""

from __future__ import annotations

import re

_CLOCK = re.compile(r"(?:(?:(\d{1,6}):)?([0-5]?\d)|(\d{1,6})):([0-5]?\d(?:[.,]\d*)?)", re.ASCII)


def counted(count: int, noun: str) -> str:
    """Return a number and what it counts: `1 video`, `2,000 videos`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a duration: `45 s`, `12 min`, `1 h 34 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def data_size(size_bytes: float) -> str:
    """Return a size in decimal units: `1 byte`, `812 bytes`, `8.6 MB`, `1.7 TB`."""
    if round(size_bytes) < 1000:
        return counted(round(size_bytes), "byte")
    size = size_bytes / 1000
    for unit in ("kB", "MB", "GB"):
        if round(size, 1) < 1000:
            return f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def clock_seconds(text: str) -> float | None:
    """Return the seconds of a time such as `1:02`, `75:30` or `1:02:03.5`; None for any other text.

    Only the first of the numbers may be 60 or more.
    """
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        return None
    hours, minutes = int(clock[1] or 0), int(clock[2] or clock[3])
    return hours * 3600.0 + minutes * 60.0 + float(clock[4].replace(",", "."))
