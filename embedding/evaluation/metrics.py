"""Retrieval over a whole test set: ranks, recalls, median rank, confidence intervals, the first k answers.

Candidates are videos or clips, each once, and several sentences may belong to one. Ties are never broken in the model's
favour: a wrong answer with the score of the right one ranks before it, so a model that gives every pair the same score
has a recall of 0, not 1. The other right sentences of a video do not count as wrong answers. NaN is an error.

Score matrices are processed in blocks of rows, so the additional memory is that of one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reeldex.embedding.errors import ScoresError
from reeldex.embedding.options import EvaluationOptions
from reeldex.storage.json_codec import to_json

_DEFAULTS = EvaluationOptions()

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]

RECALL_AT = (1, 5, 10)
_BLOCK_CELLS = 1 << 21  # scores in a block of rows


def row_blocks(shape: tuple[int, ...], block_rows: int | None = None) -> Iterator[slice]:
    """Return slices that cover the rows of a matrix: of `block_rows` rows, or of about two million cells when None."""
    rows, width = shape
    size = block_rows or max(1, _BLOCK_CELLS // max(width, 1))
    return (slice(first, min(first + size, rows)) for first in range(0, rows, size))


def checked_scores(scores: npt.ArrayLike, block_rows: int | None = None) -> Floats:
    """Return scores as a 2-D float array; raises ScoresError for another shape, for none, and for NaN."""
    array: Floats = np.asarray(scores)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if array.ndim != 2 or not array.size:
        raise ScoresError(f"Scores are a matrix, sentence by video, of at least one of each; these are {array.shape}.")
    wrong, found = 0, (0, 0)
    for block in row_blocks(array.shape, block_rows):
        if (bad := np.argwhere(np.isnan(array[block]))).size:
            found = found if wrong else (int(bad[0, 0]) + block.start, int(bad[0, 1]))
            wrong += len(bad)
    if wrong:
        raise ScoresError(
            f"{wrong} of {array.size} scores are NaN, the first in row {found[0]}, column {found[1]}. The "
            "checkpoint or the features are damaged: check both for NaN."
        )
    return array


def ranks_of_right(
    scores: npt.ArrayLike, right: Sequence[int] | Integers | None = None, *, block_rows: int | None = None
) -> Integers:
    """Return the rank, from 1, of the right column in each row of (N, M) scores: (N,) int64.

    `right` names the right column of each row; the diagonal when None. The rank is 1 + the number of wrong
    columns with at least the right one's score.
    """
    array = checked_scores(scores, block_rows)
    columns = _right_columns(array, right)
    ranks = np.empty(len(array), dtype=np.int64)
    for block in row_blocks(array.shape, block_rows):
        own = np.take_along_axis(array[block], columns[block, None], axis=1)
        # The right column itself is among those that reach its score, which makes up for the 1.
        ranks[block] = (array[block] >= own).sum(axis=1)
    return ranks


def ranks_of_any_right(
    scores: npt.ArrayLike, right: Sequence[int] | Integers | None = None, *, block_rows: int | None = None
) -> Integers:
    """Return for each column of (N, M) scores the rank, from 1, of the best of the rows that belong to it: (M',) int64.

    `right` names the column each row belongs to, as for `ranks_of_right`. Columns without a row of their own are
    not queries and are left out. The rank is 1 + the number of other columns' rows with at least the best own score.
    """
    array = checked_scores(scores, block_rows)
    columns = _right_columns(array, right)
    own = array[np.arange(len(array)), columns]
    best = np.full(array.shape[1], -np.inf, dtype=array.dtype)
    np.maximum.at(best, columns, own)
    reached = np.zeros(array.shape[1], dtype=np.int64)
    for block in row_blocks(array.shape, block_rows):
        reached += (array[block] >= best).sum(axis=0)
    reached -= np.bincount(columns[own >= best[columns]], minlength=array.shape[1])
    return np.asarray(1 + reached[np.unique(columns)], dtype=np.int64)


def _right_columns(array: Floats, right: Sequence[int] | Integers | None) -> Integers:
    rows, width = array.shape
    if right is None:
        if rows != width:
            raise ScoresError(
                f"{rows} sentences and {width} videos are not pairs. Pass the right video of each sentence."
            )
        return np.arange(rows)
    columns = np.asarray(right, dtype=np.int64)
    if columns.shape != (rows,) or columns.min() < 0 or columns.max() >= width:
        raise ScoresError(f"There must be one right column in 0..{width - 1} for each of {rows} rows.")
    return columns


@dataclass(frozen=True, slots=True)
class Interval:
    """The bounds of a 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RetrievalMetrics:
    """The summary of ranks: recalls as shares in 0..1, the median rank from 1, and the number of queries."""

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    median_rank: float
    query_count: int

    def to_json(self) -> dict[str, float]:
        """Return the fields by name."""
        found: dict[str, float] = to_json(self)
        return found


def summarise(ranks: Sequence[int] | Integers) -> RetrievalMetrics:
    """Count recalls and the median of ranks from 1; raises ScoresError when there are none."""
    array = _checked_ranks(ranks)
    at_1, at_5, at_10 = (float((array <= k).mean()) for k in RECALL_AT)
    return RetrievalMetrics(at_1, at_5, at_10, float(np.median(array)), query_count=len(array))


def bootstrap(
    ranks: Sequence[int] | Integers,
    *,
    groups: Sequence[int] | Integers | None = None,
    resamples: int = _DEFAULTS.resamples,
    seed: int = _DEFAULTS.seed,
) -> dict[str, Interval]:
    """Return 95 % percentile intervals of the figures of `summarise`, by name, over resampled queries.

    Queries of one group (`groups`, a number from 0 for each query), such as the sentences of one video, are drawn
    together, since they are not independent; without groups each query is drawn by itself.
    """
    array = _checked_ranks(ranks)
    order = np.argsort(array, kind="stable")
    ordered = array[order]
    hits = np.stack([array <= k for k in RECALL_AT], axis=1).astype(np.float64)

    def measure(weights: Integers) -> npt.NDArray[np.float64]:
        recalls = (weights @ hits) / weights.sum(axis=1, keepdims=True)
        return np.concatenate([recalls.T, _weighted_medians(ordered, weights[:, order])[None]])

    names = [*(f"recall_at_{k}" for k in RECALL_AT), "median_rank"]
    return _intervals(names, _groups(groups, len(array)), measure, (resamples, seed))


def bootstrap_means(
    figures: npt.NDArray[np.float64],
    names: Sequence[str],
    *,
    resamples: int = _DEFAULTS.resamples,
    seed: int = _DEFAULTS.seed,
) -> dict[str, Interval]:
    """Return 95 % percentile intervals of the means of (queries, figures), by name, over resampled queries."""

    def measure(weights: Integers) -> npt.NDArray[np.float64]:
        means: npt.NDArray[np.float64] = ((weights @ figures) / weights.sum(axis=1, keepdims=True)).T
        return means

    return _intervals(names, _groups(None, len(figures)), measure, (resamples, seed))


def _groups(groups: Sequence[int] | Integers | None, query_count: int) -> Integers:
    """Return the group of each query, numbered from 0 without gaps."""
    if groups is None:
        return np.arange(query_count)
    numbers = np.asarray(groups, dtype=np.int64)
    if numbers.shape != (query_count,):
        raise ScoresError(f"There must be one group for each of {query_count} queries, not {numbers.shape}.")
    return np.asarray(np.unique(numbers, return_inverse=True)[1], dtype=np.int64)


def _weighted_medians(ordered: Integers, weights: Integers) -> npt.NDArray[np.float64]:
    """Return the (n,) medians of (queries,) ascending ranks that occur (n, queries) times."""
    up_to = np.cumsum(weights, axis=1)
    total = up_to[:, -1]
    low, high = (ordered[(up_to > place[:, None]).argmax(axis=1)] for place in ((total - 1) // 2, total // 2))
    return np.asarray((low + high) / 2, dtype=np.float64)


def _intervals(
    names: Sequence[str],
    groups: Integers,
    measure: Callable[[Integers], npt.NDArray[np.float64]],
    drawing: tuple[int, int],
) -> dict[str, Interval]:
    """Turn what `measure` makes of (n, queries) how often each query was drawn, (figures, n), into intervals."""
    resamples, seed = drawing
    if resamples < 1:
        raise ValueError(f"An interval needs at least 1 resample, not {resamples}.")
    generator = np.random.default_rng(seed)
    group_count = int(groups.max()) + 1
    found = []
    for block in row_blocks((resamples, len(groups))):
        drawn = generator.integers(0, group_count, (block.stop - block.start, group_count))
        times = np.stack([np.bincount(row, minlength=group_count) for row in drawn])
        found.append(measure(times[:, groups]))
    low, high = np.percentile(np.concatenate(found, axis=1), (2.5, 97.5), axis=1)
    return {name: Interval(float(low[at]), float(high[at])) for at, name in enumerate(names)}


def _checked_ranks(ranks: Sequence[int] | Integers) -> Integers:
    array = np.asarray(ranks, dtype=np.int64)
    if array.ndim != 1 or not array.size or array.min() < 1:
        raise ScoresError("Ranks are a list of at least one whole number from 1 on.")
    return array


def class_ranks(
    scores: npt.ArrayLike,
    query_classes: Sequence[int] | Integers,
    item_classes: Sequence[int] | Integers,
    *,
    block_rows: int | None = None,
) -> Integers:
    """Return the rank of each query's class among the classes of the items: (N,) int64, from 1.

    A class scores as its best item of (N, M) scores does. The rank is 1 + the number of other classes with at
    least that score. Raises ScoresError when a query's class has no item.
    """
    array = checked_scores(scores, block_rows)
    wanted, held = np.asarray(query_classes, dtype=np.int64), np.asarray(item_classes, dtype=np.int64)
    if (len(wanted), len(held)) != array.shape:
        raise ScoresError(f"{array.shape} scores do not fit {len(wanted)} queries' and {len(held)} items' classes.")
    classes, inverse = np.unique(held, return_inverse=True)
    absent = sorted({int(name) for name in wanted} - {int(name) for name in classes})
    if absent:
        raise ScoresError(f"No item is of the class {', '.join(map(str, absent[:5]))}, which queries ask for.")
    by_class = np.argsort(inverse, kind="stable")
    starts = np.searchsorted(inverse[by_class], np.arange(len(classes)))
    right = np.searchsorted(classes, wanted)
    ranks = np.empty(len(array), dtype=np.int64)
    for block in row_blocks(array.shape, block_rows):
        best = np.maximum.reduceat(array[block][:, by_class], starts, axis=1)
        ranks[block] = ranks_of_right(best, right[block])
    return ranks


def top_k(
    scores: npt.ArrayLike,
    k: int,
    right: Sequence[int] | Integers | None = None,
    *,
    block_rows: int | None = None,
) -> tuple[Integers, Floats]:
    """Return the columns of the k highest scores of each row and those scores, best first: twice (N, min(k, M)).

    Among equal scores the lower column comes first, but the right one, where `right` names one for each row, last:
    its place is then its rank.
    """
    array = checked_scores(scores, block_rows)
    if k < 1:
        raise ValueError(f"At least the first answer can be given, not the first {k}.")
    columns = None if right is None else _right_columns(array, right)
    shape = (len(array), min(k, array.shape[1]))
    order, values = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=array.dtype)
    for block in row_blocks(array.shape, block_rows):
        part = array[block]
        is_right = np.zeros(part.shape, dtype=bool)
        if columns is not None:
            is_right[np.arange(len(part)), columns[block]] = True
        order[block] = np.lexsort((is_right, -part), axis=1)[:, :k]
        values[block] = np.take_along_axis(part, order[block], axis=1)
    return order, values


def in_row_blocks(
    shape: tuple[int, ...], work: Callable[[slice], npt.NDArray[Any]], block_rows: int | None = None
) -> npt.NDArray[Any]:
    """Apply `work` to slices of a matrix's rows and join the results: large matrices in bounded memory."""
    return np.concatenate([work(block) for block in row_blocks(shape, block_rows)])
