"""Words with their vectors as a file has them, and without the rows that cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from reeldex.embedding.errors import WordVectorsError

Floats = npt.NDArray[np.floating]

NOT_UTF_8 = "not UTF-8"
REPEATED = "repeated"
EMPTY = "empty"
NOT_FINITE = "with NaN or infinity in the vector"
BEYOND_COUNT = "beyond the count in the first line"
# Invalid bytes of a word are decoded to these (surrogateescape).
_INVALID_BYTES = ("\udc80", "\udcff")
_ROWS_AT_A_TIME = 1 << 16


@dataclass(frozen=True, eq=False)
class WordRows:
    """Words and their (V, D) vectors; `left_out` counts the rows of the file that are not among them, by reason."""

    words: Sequence[str]
    vectors: Floats
    left_out: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def left_out_in_words(self) -> str:
        """Return what was left out, such as `2 repeated, 1 not UTF-8`."""
        return ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())


def decoded(word: bytes) -> str:
    """Return a word of a file; bytes that are not UTF-8 become lone surrogates, which `usable_rows` leaves out."""
    return word.decode("utf-8", "surrogateescape")


def usable_rows(source: Path, rows: WordRows) -> WordRows:
    """Leave out and count words that are empty, repeated or not UTF-8, and vectors with NaN or infinity.

    Of a repeated word the first row counts. Raises WordVectorsError when no row is left, or most words are not UTF-8.
    """
    finite = _finite(rows.vectors)
    seen: set[str] = set()
    kept: list[int] = []
    left_out = Counter(dict(rows.left_out))
    for at, word in enumerate(rows.words):
        reason = _reason(word, seen, finite=bool(finite[at]))
        if reason is None:
            seen.add(word)
            kept.append(at)
        else:
            left_out[reason] += 1
    if left_out[NOT_UTF_8] * 2 > len(rows.words):
        raise WordVectorsError(
            f"{source}: {left_out[NOT_UTF_8]:,} of its {len(rows.words):,} words are not UTF-8. It is damaged, of "
            "another format, or of another encoding: convert it to UTF-8."
        )
    found = {reason: count for reason, count in left_out.items() if count}
    if not kept:
        reasons = WordRows((), rows.vectors, found).left_out_in_words()
        raise WordVectorsError(f"{source} holds no word vectors{f' ({reasons})' if reasons else ''}.")
    if len(kept) == len(rows.words):
        return WordRows(rows.words, rows.vectors, found)
    return WordRows([rows.words[at] for at in kept], rows.vectors[kept], found)


def _reason(word: str, seen: set[str], *, finite: bool) -> str | None:
    """Return why a row is left out, None when it is kept."""
    if not word:
        return EMPTY
    if not word.isascii() and any(_INVALID_BYTES[0] <= letter <= _INVALID_BYTES[1] for letter in word):
        return NOT_UTF_8
    if word in seen:
        return REPEATED
    return None if finite else NOT_FINITE


def _finite(vectors: Floats) -> npt.NDArray[np.bool_]:
    """Return whether each vector is finite, (V,); in blocks, since there may be millions."""
    found = np.empty(len(vectors), dtype=np.bool_)
    for first in range(0, len(vectors), _ROWS_AT_A_TIME):
        block = slice(first, first + _ROWS_AT_A_TIME)
        found[block] = np.isfinite(vectors[block]).all(axis=1)
    return found
