"""Splits sentences into words, and looks up word vectors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reeldex.embedding.options import ModelOptions
from reeldex.embedding.words.cache import encoded, open_cache

_MODEL = ModelOptions()

_WORD = re.compile(r"[\w']+")
_REMEMBERED_WORDS = 50_000


def tokenise(sentence: object) -> list[str]:
    """Return the words of a sentence: runs of letters, digits, underscores and apostrophes, case kept.

    As in the published code. A value that is not a string, such as a caption parsed as a number, is converted to
    a string first; None and NaN, which stand for no caption, have no words.
    """
    if sentence is None or (isinstance(sentence, Real) and sentence != sentence):  # noqa: PLR0124 - NaN
        return []
    return _WORD.findall(str(sentence))


class WordVectors:
    """Words and their vectors, read-only from a cache file that processes share.

    `fingerprint` is the SHA-256 of the source's content, `dim` the vector dimension. Pickling stores
    only the path. Raises WordVectorsError when `cache` is absent or damaged.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self._mapped = open_cache(cache)
        self._remembered: dict[str, int] = {}

    def __reduce__(self) -> tuple[type[WordVectors], tuple[Path]]:
        return WordVectors, (self.cache,)

    @property
    def dim(self) -> int:
        """Vector dimension."""
        return int(self._mapped.vectors.shape[1])

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 of the source's content."""
        return self._mapped.fingerprint

    @property
    def matrix(self) -> npt.NDArray[np.float32]:
        """All vectors, (V, dim) float32, read-only, in the source's order."""
        return self._mapped.vectors

    def __len__(self) -> int:
        return len(self._mapped.vectors)

    def __iter__(self) -> Iterator[str]:
        for number in range(len(self)):
            yield self._mapped.word(number).decode("utf-8", "surrogatepass")

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self._find(word) >= 0

    def vector(self, word: str) -> npt.NDArray[np.float32]:
        """Return a word's vector, (dim,) float32; raises KeyError for a word without one."""
        number = self._find(word)
        if number < 0:
            raise KeyError(word)
        found: npt.NDArray[np.float32] = self._mapped.vectors[number]
        return found

    def sentence_vectors(
        self, captions: Sequence[object], max_words: int = _MODEL.max_words
    ) -> npt.NDArray[np.float32]:
        """Return the vectors of the first `max_words` known words of each caption: (B, max_words, dim), zero padded."""
        if max_words < 1:
            raise ValueError(f"max_words must be at least 1, not {max_words}.")
        filled = np.zeros((len(captions), max_words, self.dim), dtype=np.float32)
        numbers: list[int] = []
        rows: list[int] = []
        places: list[int] = []
        for row, caption in enumerate(captions):
            known = self._known(caption, max_words)
            numbers += known
            rows += [row] * len(known)
            places += range(len(known))
        filled[rows, places] = self._mapped.vectors[numbers]
        return filled

    def known_vectors(self, caption: object, max_words: int = _MODEL.max_words) -> npt.NDArray[np.float32]:
        """Return the vectors of the first `max_words` known words of a caption, (w, dim)."""
        found: npt.NDArray[np.float32] = self._mapped.vectors[self._known(caption, max_words)]
        return found

    def unknown_words(self, captions: Iterable[object]) -> Counter[str]:
        """Return the counts of the words of captions that have no vector and are ignored."""
        return Counter(word for caption in captions for word in tokenise(caption) if self._find(word) < 0)

    def _known(self, caption: object, max_words: int) -> list[int]:
        return [number for word in tokenise(caption) if (number := self._find(word)) >= 0][:max_words]

    def _find(self, word: str) -> int:
        number = self._remembered.get(word)
        if number is None:
            if len(self._remembered) >= _REMEMBERED_WORDS:
                self._remembered.clear()
            number = self._remembered[word] = self._mapped.find(encoded(word))
        return number
