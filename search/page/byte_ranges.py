"""HTTP byte ranges (RFC 9110, section 14), as pure functions."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE_RANGE = re.compile(r"bytes=\s*(\d{0,19})-(\d{0,19})\s*", re.IGNORECASE | re.ASCII)


class RangeNotSatisfiableError(Exception):
    """A range begins after the end of the file."""


@dataclass(frozen=True)
class ByteRange:
    """The bytes `first` up to and including `last`."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last:
            raise ValueError(f"bytes {self.first} to {self.last} are no range")

    @property
    def length(self) -> int:
        """The number of bytes."""
        return self.last - self.first + 1


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the range that a Range header asks for of `size` bytes; None means all of them.

    A header that is not a single range of bytes is ignored, as the RFC permits: players do not need several ranges at
    once, which are a known way to overload servers. Raises RangeNotSatisfiableError.
    """
    match = _ONE_RANGE.fullmatch(header) if header is not None else None
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        if int(last) == 0 or size == 0:
            raise RangeNotSatisfiableError
        return ByteRange(max(0, size - int(last)), size - 1)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise RangeNotSatisfiableError
    return ByteRange(int(first), min(int(last), size - 1) if last else size - 1)
