"""Retrieval over a whole test set: ranks, recalls, median rank, confidence intervals, the first k answers.

Ties are never broken in the model's favour: a wrong answer with the score of the right one stands before it.
A model that gives every pair the same score has thus the recall 0, not 1. NaN is an error.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedding.errors import ScoresError

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]

RECALL_AT = (1, 5, 10)
_BOOTSTRAP_ROWS = 100  # resamples drawn at a time, which bounds memory


def checked_scores(scores: npt.ArrayLike) -> Floats:
    """Give scores as a 2-D float array; raises ScoresError for another shape, for none, and for NaN."""
    array: Floats = np.asarray(scores)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if array.ndim != 2 or not array.size:
        raise ScoresError(f"Scores are a matrix, sentence by video, of at least one of each; these are {array.shape}.")
    wrong = np.isnan(array)
    if wrong.any():
        row, column = (int(position) for position in np.argwhere(wrong)[0])
        raise ScoresError(
            f"{int(wrong.sum())} of {array.size} scores are NaN, the first in row {row}, column {column}. The "
            "checkpoint or the features are damaged: check both for NaN."
        )
    return array


def ranks_of_right(scores: npt.ArrayLike, right: Sequence[int] | Integers | None = None) -> Integers:
    """Give the rank, from 1, of the right column in each row of (N, M) scores: (N,) int64.

    `right` names the right column of each row; the diagonal when None. The rank is 1 + the number of wrong
    columns with at least the right one's score.
    """
    array = checked_scores(scores)
    columns = _right_columns(array, right)
    own = np.take_along_axis(array, columns[:, None], axis=1)
    # The right column itself is among those that reach its score, which makes up for the 1.
    return np.asarray((array >= own).sum(axis=1), dtype=np.int64)


def ranks_of_any_right(scores: npt.ArrayLike, right: Sequence[int] | Integers | None = None) -> Integers:
    """Give for each column of (N, M) scores the rank, from 1, of the best of the rows that belong to it: (M',) int64.

    `right` names the column each row belongs to, as for `ranks_of_right`. Columns without a row of their own ask
    nothing and are left out. The rank is 1 + the number of other columns' rows with at least the best own score.
    """
    array = checked_scores(scores)
    columns = _right_columns(array, right)
    ranks = []
    for column in np.unique(columns):
        own = columns == column
        ranks.append(1 + int((array[~own, column] >= array[own, column].max()).sum()))
    return np.asarray(ranks, dtype=np.int64)


def _right_columns(array: Floats, right: Sequence[int] | Integers | None) -> Integers:
    rows, width = array.shape
    if right is None:
        if rows != width:
            raise ScoresError(
                f"{rows} sentences and {width} videos are no pairs. Say for each sentence which video is the right one."
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
    """What ranks amount to: recalls as shares in 0..1, the median rank from 1, and the number of queries."""

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    median_rank: float
    query_count: int

    def to_json(self) -> dict[str, float]:
        """Give the fields by name."""
        return asdict(self)


def summarise(ranks: Sequence[int] | Integers) -> RetrievalMetrics:
    """Count recalls and the median of ranks from 1; raises ScoresError when there are none."""
    array = _checked_ranks(ranks)
    at_1, at_5, at_10, median = _figures(array[None, :])[:, 0].tolist()
    return RetrievalMetrics(at_1, at_5, at_10, median, query_count=len(array))


def bootstrap(ranks: Sequence[int] | Integers, *, resamples: int = 1000, seed: int = 0) -> dict[str, Interval]:
    """Give 95 % percentile intervals of the figures of `summarise`, by name, over resampled queries."""
    array = _checked_ranks(ranks)
    names = [*(f"recall_at_{k}" for k in RECALL_AT), "median_rank"]
    return _intervals(names, len(array), lambda drawn: _figures(array[drawn]), (resamples, seed))


def bootstrap_means(
    figures: npt.NDArray[np.float64], names: Sequence[str], *, resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Give 95 % percentile intervals of the means of (queries, figures), by name, over resampled queries."""
    return _intervals(names, len(figures), lambda drawn: figures[drawn].mean(axis=1).T, (resamples, seed))


def _intervals(
    names: Sequence[str],
    query_count: int,
    measure: Callable[[Integers], npt.NDArray[np.float64]],
    drawing: tuple[int, int],
) -> dict[str, Interval]:
    """Turn what `measure` makes of (n, queries) drawn queries, (figures, n), into intervals."""
    resamples, seed = drawing
    if resamples < 1:
        raise ValueError(f"An interval needs at least 1 resample, not {resamples}.")
    generator = np.random.default_rng(seed)
    found = []
    for first in range(0, resamples, _BOOTSTRAP_ROWS):
        count = min(_BOOTSTRAP_ROWS, resamples - first)
        found.append(measure(generator.integers(0, query_count, (count, query_count))))
    low, high = np.percentile(np.concatenate(found, axis=1), (2.5, 97.5), axis=1)
    return {name: Interval(float(low[at]), float(high[at])) for at, name in enumerate(names)}


def _checked_ranks(ranks: Sequence[int] | Integers) -> Integers:
    array = np.asarray(ranks, dtype=np.int64)
    if array.ndim != 1 or not array.size or array.min() < 1:
        raise ScoresError("Ranks are a list of at least one whole number from 1 on.")
    return array


def _figures(ranks: Integers) -> npt.NDArray[np.float64]:
    """(resamples, queries) ranks to (4, resamples): the recalls and the median."""
    return np.stack([*((ranks <= k).mean(axis=1) for k in RECALL_AT), np.median(ranks, axis=1)])


def class_ranks(
    scores: npt.ArrayLike, query_classes: Sequence[int] | Integers, item_classes: Sequence[int] | Integers
) -> Integers:
    """Give the rank of each query's class among the classes of the items: (N,) int64, from 1.

    A class scores as its best item of (N, M) scores does. The rank is 1 + the number of other classes with at
    least that score. Raises ScoresError when a query's class has no item.
    """
    array = checked_scores(scores)
    wanted, held = np.asarray(query_classes, dtype=np.int64), np.asarray(item_classes, dtype=np.int64)
    if (len(wanted), len(held)) != array.shape:
        raise ScoresError(f"{array.shape} scores do not fit {len(wanted)} queries' and {len(held)} items' classes.")
    classes, inverse = np.unique(held, return_inverse=True)
    absent = sorted({int(name) for name in wanted} - {int(name) for name in classes})
    if absent:
        raise ScoresError(f"No item is of the class {', '.join(map(str, absent[:5]))}, which queries ask for.")
    by_class = np.argsort(inverse, kind="stable")
    starts = np.searchsorted(inverse[by_class], np.arange(len(classes)))
    best = np.maximum.reduceat(array[:, by_class], starts, axis=1)
    return ranks_of_right(best, np.searchsorted(classes, wanted))


def top_k(scores: npt.ArrayLike, k: int) -> tuple[Integers, Floats]:
    """Give the columns of the k highest scores of each row and those scores, best first: twice (N, min(k, M)).

    Among equal scores the lower column comes first.
    """
    array = checked_scores(scores)
    if k < 1:
        raise ValueError(f"At least the first answer can be given, not the first {k}.")
    order = np.argsort(-array, axis=1, kind="stable")[:, :k].astype(np.int64)
    return order, np.take_along_axis(array, order, axis=1)


def in_row_blocks(
    rows: int, work: Callable[[slice], npt.NDArray[np.float64]], block: int = 512
) -> npt.NDArray[np.float64]:
    """Do work on slices of a matrix's rows and join what comes: large matrices in bounded memory."""
    return np.concatenate([work(slice(first, first + block)) for first in range(0, rows, block)])
