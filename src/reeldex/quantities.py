"""Counts, sizes and durations as people read them; programs get raw numbers. Imports nothing."""

from __future__ import annotations

_SIZE_STEP = 1000


def counted(count: int, noun: str) -> str:
    """Return a number and what it counts: `1 video`, `2,000 videos`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def file_size(size_bytes: int) -> str:
    """Return a size in decimal units: `512 bytes`, `8.6 MB`, `12.3 GB`."""
    if size_bytes < _SIZE_STEP:
        return counted(size_bytes, "byte")
    value = float(size_bytes)
    for unit in ("kB", "MB", "GB"):
        value /= _SIZE_STEP
        # What would be rounded to 1000.0 of a unit is 1.0 of the next one.
        if round(value, 1) < _SIZE_STEP:
            return f"{value:.1f} {unit}"
    return f"{value / _SIZE_STEP:,.1f} TB"


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units: `3.4 s`, `2 min 5 s`, `1 h 34 min`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min"
