"""The HowTo100M paper's own figures, to stand beside one's own (arXiv 1906.03327, tables 5 to 7; text to video)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """Recalls in per cent and the median rank of one published model on one test set of `query_count` sentences."""

    test_set: str
    trained_on: str
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    median_rank: float
    query_count: int


_QUERY_COUNTS = {"youcook2": 3350, "msrvtt": 1000, "lsmdc": 1000}
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
PUBLISHED_RESULTS = tuple(PublishedResult(*figures, query_count=_QUERY_COUNTS[figures[0]]) for figures in _FIGURES)


def published_results(test_set: str, query_count: int) -> tuple[PublishedResult, ...]:
    """Give the published figures on a test set; none when it has another number of sentences.

    A rank among fewer videos is a better one: figures on a part of a test set must not stand beside the published.
    """
    return tuple(
        result for result in PUBLISHED_RESULTS if result.test_set == test_set and result.query_count == query_count
    )
