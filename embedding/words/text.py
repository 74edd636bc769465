"""Reads word vectors in text: rows of a word and its numbers, with or without a first line of counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np

from reeldex.embedding.words.files import open_source
from reeldex.embedding.words.lines import row_dim, without_mark
from reeldex.embedding.words.rows import BEYOND_COUNT, EMPTY, WordRows, decoded

_SAMPLE_ROWS = 1000


def read_text(source: Path, *, counts: bool) -> WordRows:
    """Read word vectors in text, with a first line of `counts` (rows, dimension) or without.

    The last numbers of a row are the vector, and all before them is the word: words of GloVe's largest files contain
    spaces. Raises ValueError that names a line which is not a word and its numbers, EOFError for a file that has
    fewer rows than it states, OSError.
    """
    with open_source(source) as file:
        lines = without_mark(file)
        if counts:
            stated = next(lines, b"").split()
            if len(stated) != 2 or not all(each.isdigit() for each in stated):
                raise ValueError("line 1 is not the number of words and of dimensions")
            count, dim = map(int, stated)
            begin = list(islice(lines, _SAMPLE_ROWS))
            # Rows with more numbers would be read as words that end in numbers.
            found = row_dim(begin)
            if found is not None and found > dim:
                raise ValueError(f"its first line states {dim} dimensions, and its rows have {found}")
            return _read(chain(begin, lines), 2, dim, count, stated=True)
        count = sum(1 for _ in lines)
    with open_source(source) as file:
        found = row_dim(islice(without_mark(file), _SAMPLE_ROWS))
    if found is None:
        raise ValueError("its rows are not words and numbers")
    with open_source(source) as file:
        return _read(without_mark(file), 1, found, count, stated=False)


def _read(lines: Iterator[bytes], first_line: int, dim: int, count: int, *, stated: bool) -> WordRows:
    if not dim:
        raise ValueError("its vectors have no dimensions")
    vectors = np.empty((count, dim), dtype=np.float32)
    words: list[str] = []
    left_out: Counter[str] = Counter()
    for number, line in enumerate(lines, start=first_line):
        if not line.strip():
            continue
        if len(words) + left_out[EMPTY] == count:
            left_out[BEYOND_COUNT] += 1
            continue
        *word, numbers = _split(line, dim, number)
        if word:
            vectors[len(words)] = numbers
            words.append(decoded(word[0]))
        else:
            left_out[EMPTY] += 1
    if stated and len(words) + left_out[EMPTY] < count:
        raise EOFError(f"its first line states {count} words, and it has {len(words) + left_out[EMPTY]}")
    return WordRows(words, vectors[: len(words)], left_out)


def _split(line: bytes, dim: int, number: int) -> tuple[bytes, list[float]] | tuple[list[float]]:
    """Return the word and the numbers of a row, or only the numbers when its word is empty."""
    parts = line.rsplit(None, dim)
    try:
        if len(parts) == dim + 1:
            return parts[0].strip(), list(map(float, parts[1:]))
        if len(parts) == dim and line[:1].isspace():
            return (list(map(float, parts)),)
    except ValueError as error:
        raise ValueError(f"line {number} does not end in {dim} numbers") from error
    raise ValueError(f"line {number} is not a word and {dim} numbers")
