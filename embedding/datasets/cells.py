"""Texts and times as annotation files write them."""

from __future__ import annotations

import math
import re
from numbers import Real

from reeldex.quantities import clock_seconds

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# How programs write that there is no text. The lower-case word none may be a caption.
_NO_TEXT = frozenset({"", "nan", "NaN", "NAN", "null", "Null", "NULL", "None", "<NA>", "N/A", "#N/A"})


def text_of(value: object) -> str | None:
    """Return a text, or a number as text; None for null, NaN, an empty text and values of other types."""
    if not isinstance(value, str | Real) or isinstance(value, bool):
        return None
    text = str(value).strip()
    return None if text in _NO_TEXT else text


def seconds_of(value: object) -> float | None:
    """Return a time in seconds: a number, or `minutes:seconds`, or `hours:minutes:seconds`; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, Real) or (isinstance(value, str) and _NUMBER.fullmatch(value.strip())):
        try:
            seconds = float(value)
        except OverflowError:  # a whole number of JSON may have any size
            return None
    elif isinstance(value, str) and (clock := clock_seconds(value.strip())) is not None:
        seconds = clock
    else:
        return None
    return seconds if 0 <= seconds < math.inf else None
