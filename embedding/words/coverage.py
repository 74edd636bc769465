"""How much of captions has word vectors: words without one are ignored, as in the published code."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from reeldex.embedding.errors import WordVectorsError
from reeldex.embedding.words.vectors import WordVectors, tokenise
from reeldex.quantities import counted
from reeldex.storage.schema import JSON

log = logging.getLogger(__name__)

WARN_ABOVE_SHARE = 0.05
REFUSE_ABOVE_SHARE = 0.5
_NAMED = 5
_LONGEST_NAMED = 30
# Vectors are sorted by frequency, so that words with capitals are among the first ones if there are any.
_LOOKED_AT = 20_000


@dataclass(frozen=True, slots=True)
class WordCoverage:
    """Counts over the words and sentences of captions.

    - `unknown_words`: occurrences of words without a vector; `wordless_sentences`: sentences without any known word.
    - `frequent_unknown`: the most frequent words without a vector.
    - `known_in_lower_case`: unknown occurrences whose lower-case form has a vector, of vectors that have lower-case
      words only; 0 for others.
    """

    words: int
    unknown_words: int
    sentences: int
    wordless_sentences: int
    frequent_unknown: tuple[str, ...] = ()
    known_in_lower_case: int = 0

    @property
    def unknown_share(self) -> float:
        """Share of the words without a vector, 0 to 1."""
        return self.unknown_words / self.words if self.words else 0.0

    @property
    def wordless_share(self) -> float:
        """Share of the sentences without a known word, 0 to 1."""
        return self.wordless_sentences / self.sentences if self.sentences else 0.0

    def __str__(self) -> str:
        said = (
            f"{_percent(self.unknown_share)} of {counted(self.words, 'word')} and {_percent(self.wordless_share)} of "
            f"{counted(self.sentences, 'sentence')} have no word vector"
        )
        if self.frequent_unknown:
            said += f" (most often: {', '.join(self.frequent_unknown)})"
        if self.known_in_lower_case:
            said += (
                f"; {counted(self.known_in_lower_case, 'word')} would have one in lower case: these vectors are of "
                "lower-case words, and captions keep their case"
            )
        return said

    def to_json(self) -> dict[str, JSON]:
        """Return counts and shares as JSON values."""
        return {
            "words": self.words,
            "words_without_vector": self.unknown_words,
            "share_of_words_without_vector": self.unknown_share,
            "sentences_without_known_word": self.wordless_sentences,
            "share_of_sentences_without_known_word": self.wordless_share,
            "most_frequent_without_vector": list(self.frequent_unknown),
            "known_in_lower_case": self.known_in_lower_case,
        }


def measure_coverage(captions: Iterable[str], vectors: WordVectors) -> WordCoverage:
    """Return how many words and sentences of captions have no vector."""
    words = sentences = wordless = 0
    unknown: Counter[str] = Counter()
    for caption in captions:
        found = tokenise(caption)
        missing = [word for word in found if word not in vectors]
        words += len(found)
        sentences += 1
        wordless += len(missing) == len(found)
        unknown.update(missing)
    named = tuple(word[:_LONGEST_NAMED] for word, _ in unknown.most_common(_NAMED))
    return WordCoverage(
        words, unknown.total(), sentences, wordless, named, _in_lower_case(unknown, vectors) if unknown else 0
    )


def _in_lower_case(unknown: Counter[str], vectors: WordVectors) -> int:
    if any(word != word.lower() for word in islice(vectors, _LOOKED_AT)):
        return 0
    return sum(count for word, count in unknown.items() if word != word.lower() and word.lower() in vectors)


def report_coverage(name: str, coverage: WordCoverage) -> None:
    """Log the coverage of the captions of a data set, as a warning above 5 % without a vector.

    Raises WordVectorsError when most words, or most sentences, have none: a model would see almost nothing of them.
    """
    share = max(coverage.unknown_share, coverage.wordless_share)
    if share > REFUSE_ABOVE_SHARE:
        raise WordVectorsError(
            f"{name}: {coverage}. Most of the captions would be ignored. Use word vectors of the captions' language, "
            f"case and writing{', or captions in lower case' if coverage.known_in_lower_case else ''}. Vectors learned "
            "from captions (--train-word-vectors) know the words of these alone: learn them from more captions."
        )
    alarming = share > WARN_ABOVE_SHARE or coverage.known_in_lower_case
    log.log(logging.WARNING if alarming else logging.INFO, "%s: %s", name, coverage)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
