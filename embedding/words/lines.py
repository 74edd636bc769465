"""Recognises lines of word vectors in text: a word, which may contain spaces, and its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

_UTF_8_MARK = b"\xef\xbb\xbf"


def row_dim(lines: Iterable[bytes]) -> int | None:
    """Return the vector dimension of rows without counts, None when most lines are not a word and numbers.

    A word may end in numbers of its own (`at 5 ...`), so the dimension is that of most rows.
    """
    found = Counter(_number_count(line) for line in lines if line.strip())
    dim, rows = max(found.items(), key=lambda each: (each[1], -each[0]), default=(0, 0))
    return dim if dim > 1 and 2 * rows >= found.total() else None


def is_row(line: bytes, dim: int) -> bool:
    """Return whether a line is a word, which may contain spaces, and `dim` numbers."""
    return _number_count(line) >= dim > 0


def _number_count(line: bytes) -> int:
    """Return how many numbers a line ends in, not counting what must be its word."""
    parts = line.split()
    # A row may have an empty word; it begins with the space that ends it.
    longest = len(parts) if line[:1].isspace() else len(parts) - 1
    count = 0
    for part in reversed(parts):
        if count >= longest or _number(part) is None:
            break
        count += 1
    return count


def _number(text: bytes) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def without_mark(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines, the first without the byte order mark that some editors write."""
    for number, line in enumerate(lines):
        yield line.removeprefix(_UTF_8_MARK) if number == 0 else line
