"""Recognises the published word vectors, GoogleNews-vectors-negative300, by their content."""

from __future__ import annotations

import numpy as np

from reeldex.embedding.words.vectors import WordVectors

_WORD = "computer"
# The first of the word's 300 numbers in the published file.
_BEGINS_WITH = (0.107421875, -0.201171875, 0.123046875, 0.211914062, -0.0913085938, 0.216796875, -0.131835938)
_DIM = 300


def is_google_news(words: WordVectors) -> bool:
    """Whether these are GoogleNews' vectors, all of them or the more frequent ones, in any format."""
    if words.dim != _DIM or _WORD not in words:
        return False
    return bool(np.allclose(words.vector(_WORD)[: len(_BEGINS_WITH)], _BEGINS_WITH, rtol=1e-5, atol=1e-7))
