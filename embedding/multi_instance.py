"""EPIC-KITCHENS-100 multi-instance retrieval: graded relevance, mean average precision, nDCG.

Protocol: Damen et al., Rescaling Egocentric Vision, arXiv 2006.13256, section 4.5; relevance and nDCG: Wray et
al., On Semantic Similarity in Video Retrieval, arXiv 2103.10095. Ties are never broken in the model's favour:
among equal scores the less relevant answer stands first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reeldex.embedding.errors import ScoresError
from reeldex.embedding.evaluation.metrics import Floats, checked_scores, in_row_blocks
from reeldex.storage.json_codec import to_json


@dataclass(frozen=True, slots=True)
class Action:
    """An action: one verb class and the classes of all nouns."""

    verb: int
    nouns: frozenset[int]


def class_relevance(videos: Sequence[Action], sentences: Sequence[Action]) -> npt.NDArray[np.float64]:
    """Return the relevance of each sentence to each video: (videos, sentences) float64 in 0..1.

    The mean of the overlap of the verbs, 1 or 0, and of the intersection over union of the sets of nouns (0 when
    both are empty).
    """
    if not videos or not sentences:
        raise ScoresError("Relevance needs at least one video and one sentence.")
    first, first_of = _distinct(videos)
    second, second_of = _distinct(sentences)
    nouns = sorted(set().union(*(action.nouns for action in (*first, *second))))
    left, right = _indicators(first, nouns), _indicators(second, nouns)
    shared = left @ right.T
    union = left.sum(axis=1)[:, None] + right.sum(axis=1)[None, :] - shared
    overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    verbs = np.array([action.verb for action in first])[:, None] == np.array([action.verb for action in second])
    table = (verbs + overlap) / 2
    relevance: npt.NDArray[np.float64] = table[np.ix_(first_of, second_of)]
    return relevance


def _distinct(actions: Sequence[Action]) -> tuple[list[Action], list[int]]:
    """Return the distinct actions, and the index of each given one among them."""
    seen: dict[Action, int] = {}
    positions = [seen.setdefault(action, len(seen)) for action in actions]
    return list(seen), positions


def _indicators(actions: Sequence[Action], nouns: Sequence[int]) -> npt.NDArray[np.float64]:
    return np.array([[noun in action.nouns for noun in nouns] for action in actions], dtype=np.float64).reshape(
        len(actions), len(nouns)
    )


@dataclass(frozen=True, slots=True)
class MultiInstanceMetrics:
    """Mean average precision and nDCG of one direction, in 0..1.

    `mean_average_precision` is what the challenge's program computes: precision at a fully relevant answer counts
    each answer up to it with its graded relevance. `binary_average_precision` is the textbook definition, in which only
    fully relevant answers (relevance 1) count.
    """

    mean_average_precision: float
    binary_average_precision: float
    ndcg: float
    query_count: int

    def to_json(self) -> dict[str, float]:
        """Return the fields by name."""
        found: dict[str, float] = to_json(self)
        return found


FIGURES = ("mean_average_precision", "binary_average_precision", "ndcg")
"""The figures that `query_figures` returns per query, in this order."""


def mean_figures(figures: npt.NDArray[np.float64]) -> MultiInstanceMetrics:
    """Take the means of (queries, 3) figures of queries."""
    average, binary, ndcg = figures.mean(axis=0).tolist()
    return MultiInstanceMetrics(average, binary, ndcg, query_count=len(figures))


def query_figures(scores: npt.ArrayLike, relevance: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Measure each query of one direction: (queries, answers) scores against their relevance in 0..1 to (queries, 3).

    Figures are computed in float64. Pass both transposed for the other direction. Raises ScoresError when shapes
    differ, for NaN, and for a query without a fully relevant answer, whose average precision is not defined.
    """
    array, graded = checked_scores(scores), checked_scores(relevance)
    if array.shape != graded.shape:
        raise ScoresError(f"Scores are {array.shape}, and their relevance is {graded.shape}: the shapes must be equal.")
    if graded.min() < 0 or graded.max() > 1:
        raise ScoresError(f"Relevance must be in 0..1, not in {graded.min()}..{graded.max()}.")
    without = np.flatnonzero(~has_right_answer(graded))
    if len(without):
        raise ScoresError(
            f"{len(without)} queries have no fully relevant answer, the first is number {without[0]}. Leave them out."
        )
    return in_row_blocks(array.shape, lambda block: _figures(array[block], graded[block].astype(np.float64)))


def has_right_answer(relevance: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return which queries of (queries, answers) relevance have a fully relevant answer: (queries,) bool."""
    graded = np.asarray(relevance)
    return in_row_blocks(graded.shape, lambda block: (graded[block] == 1).any(axis=1))


def _figures(scores: Floats, relevance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return graded and binary average precision, and nDCG, of each query: (n, 3)."""
    # The last key counts first: descending score, then, among equals, ascending relevance.
    order = np.lexsort((relevance, -scores))
    ranked = np.take_along_axis(relevance, order, axis=1)
    full = ranked == 1
    positions = np.arange(1, ranked.shape[1] + 1)
    graded = np.where(full, np.cumsum(ranked, axis=1), 0) / positions
    binary = np.where(full, np.cumsum(full, axis=1), 0) / positions
    ideal = -np.sort(-relevance, axis=1)
    # Only as many answers count as are relevant, so a bad ranking gains nothing from its length.
    discounts = (ideal > 0) / np.log2(positions + 1)
    ndcg = (ranked * discounts).sum(axis=1) / (ideal * discounts).sum(axis=1)
    return np.stack([graded.sum(axis=1) / full.sum(axis=1), binary.sum(axis=1) / full.sum(axis=1), ndcg], axis=1)
