"""The HowTo100M paper's figures, for comparison (arXiv 1906.03327, tables 5 to 7; text to video)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """Recalls in per cent and the median rank of one published model by one protocol of a test set.

    `query_count` is the number of sentences.
    """

    test_set: str
    protocol: str
    trained_on: str
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    median_rank: float
    query_count: int


_PROTOCOLS = {"youcook2": ("validation", 3350), "msrvtt": ("1k-A", 1000), "lsmdc": ("1k", 1000)}
_FIGURES = (
    ("youcook2", "HowTo100M, zero-shot", 6.1, 17.3, 24.8, 46),
    ("youcook2", "YouCook2 only", 4.2, 13.7, 21.5, 65),
    ("youcook2", "HowTo100M, fine-tuned", 8.2, 24.5, 35.3, 24),
    ("msrvtt", "HowTo100M, zero-shot", 7.5, 21.2, 29.6, 38),
    ("msrvtt", "MSR-VTT only", 12.1, 35.0, 48.0, 12),
    ("msrvtt", "HowTo100M, fine-tuned", 14.9, 40.2, 52.8, 9),
    ("lsmdc", "HowTo100M, zero-shot", 4.0, 9.8, 14.0, 137),
    ("lsmdc", "LSMDC only", 7.2, 18.3, 25.0, 44),
    ("lsmdc", "HowTo100M, fine-tuned", 7.1, 19.6, 27.9, 40),
)
PUBLISHED_RESULTS = tuple(
    PublishedResult(figures[0], _PROTOCOLS[figures[0]][0], *figures[1:], query_count=_PROTOCOLS[figures[0]][1])
    for figures in _FIGURES
)


def published_results(test_set: str, protocol: str | None) -> tuple[PublishedResult, ...]:
    """Return the published figures on a test set by a protocol; none for another protocol.

    The caller must know that the test set is the published one: an equal number of sentences does not prove it.
    """
    return tuple(each for each in PUBLISHED_RESULTS if (each.test_set, each.protocol) == (test_set, protocol))
