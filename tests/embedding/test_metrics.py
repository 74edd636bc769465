from __future__ import annotations

import numpy as np
import pytest

from reeldex.embedding.errors import ScoresError
from reeldex.embedding.evaluation.metrics import (
    bootstrap,
    bootstrap_means,
    checked_scores,
    class_ranks,
    ranks_of_any_right,
    ranks_of_right,
    summarise,
    top_k,
)


def slow_rank(row: list[float], right: int) -> int:
    return 1 + sum(score >= row[right] for column, score in enumerate(row) if column != right)


def random_scores(
    rows: int, columns: int, seed: int = 0, levels: int = 0
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    scores = np.random.default_rng(seed).normal(size=(rows, columns))
    return np.round(scores * levels) if levels else scores


@pytest.mark.parametrize("levels", [0, 2])
def test_ranks_are_those_of_the_slow_count(levels: int) -> None:
    scores = random_scores(30, 30, levels=levels)
    assert ranks_of_right(scores).tolist() == [slow_rank(row, at) for at, row in enumerate(scores.tolist())]
    right = np.random.default_rng(1).integers(0, 30, 30)
    assert ranks_of_right(scores, right).tolist() == [
        slow_rank(row, int(at)) for at, row in zip(right, scores.tolist(), strict=True)
    ]


def test_a_model_that_scores_all_alike_recalls_nothing() -> None:
    same = np.zeros((20, 20), dtype=np.float32)
    assert ranks_of_right(same).tolist() == [20] * 20
    assert ranks_of_any_right(same).tolist() == [20] * 20
    assert summarise(ranks_of_right(same)).recall_at_10 == 0


@pytest.mark.parametrize("levels", [0, 2])
def test_a_video_is_answered_by_any_of_its_sentences(levels: int) -> None:
    scores = random_scores(12, 5, levels=levels)
    right = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 4, 4, 4])
    wanted = []
    for video in (0, 1, 2, 4):
        best = max(scores[row, video] for row in range(12) if right[row] == video)
        wanted.append(1 + sum(scores[row, video] >= best for row in range(12) if right[row] != video))
    assert ranks_of_any_right(scores, right).tolist() == wanted


def test_one_sentence_a_video_makes_both_directions_alike() -> None:
    scores = random_scores(9, 9)
    assert ranks_of_any_right(scores).tolist() == ranks_of_right(scores.T).tolist()


def test_recalls_and_median() -> None:
    found = summarise([1, 1, 5, 6, 10, 11])
    assert (found.recall_at_1, found.recall_at_5, found.recall_at_10) == (2 / 6, 3 / 6, 5 / 6)
    assert (found.median_rank, found.query_count) == (5.5, 6)
    assert found.to_json() == {
        "recall_at_1": 2 / 6,
        "recall_at_5": 0.5,
        "recall_at_10": 5 / 6,
        "median_rank": 5.5,
        "query_count": 6,
    }


def test_what_cannot_be_ranked_is_refused() -> None:
    scores = np.zeros((3, 3), dtype=np.float32)
    scores[1, 2] = np.nan
    with pytest.raises(ScoresError, match="1 of 9 scores are NaN, the first in row 1, column 2"):
        ranks_of_right(scores)
    with pytest.raises(ScoresError, match="3 sentences and 4 videos are not pairs"):
        ranks_of_right(np.zeros((3, 4)))
    with pytest.raises(ScoresError, match=r"one right column in 0\.\.3"):
        ranks_of_right(np.zeros((3, 4)), [0, 1, 4])
    with pytest.raises(ScoresError, match=r"these are \(0, 3\)"):
        checked_scores(np.zeros((0, 3)))
    with pytest.raises(ScoresError, match="at least one whole number"):
        summarise([])
    with pytest.raises(ScoresError, match="from 1 on"):
        bootstrap([0, 1])


def test_half_precision_scores_are_widened() -> None:
    assert checked_scores(np.ones((2, 2), dtype=np.float16)).dtype == np.float64


def test_intervals_hold_the_figures_and_shrink_with_the_number_of_queries() -> None:
    ranks = np.random.default_rng(3).integers(1, 30, 100)
    few, many = bootstrap(ranks), bootstrap(np.tile(ranks, 25))
    figures = summarise(ranks).to_json()
    assert set(few) == {"recall_at_1", "recall_at_5", "recall_at_10", "median_rank"}
    for name, interval in few.items():
        assert interval.low <= figures[name] <= interval.high
        assert many[name].high - many[name].low <= interval.high - interval.low
    # The normal approximation of a share's interval, which these shares are near.
    share = figures["recall_at_10"]
    half = 1.96 * (share * (1 - share) / 100) ** 0.5
    assert few["recall_at_10"].low == pytest.approx(share - half, abs=0.025)
    assert few["recall_at_10"].high == pytest.approx(share + half, abs=0.025)


def test_intervals_depend_on_the_seed_alone() -> None:
    ranks = np.random.default_rng(3).integers(1, 30, 50)
    assert bootstrap(ranks, resamples=250) == bootstrap(ranks, resamples=250)
    assert bootstrap(ranks, resamples=250) != bootstrap(ranks, resamples=250, seed=1)


def test_intervals_of_means_are_those_of_shares() -> None:
    ranks = np.random.default_rng(3).integers(1, 30, 100)
    shares = np.stack([ranks <= 1, ranks <= 10], axis=1).astype(np.float64)
    found = bootstrap_means(shares, ("one", "ten"), resamples=250)
    wanted = bootstrap(ranks, resamples=250)
    for name, same in (("one", "recall_at_1"), ("ten", "recall_at_10")):
        assert (found[name].low, found[name].high) == pytest.approx((wanted[same].low, wanted[same].high))
    with pytest.raises(ValueError, match="at least 1 resample, not 0"):
        bootstrap_means(shares, ("one", "ten"), resamples=0)


def test_class_ranks_are_those_of_the_slow_count() -> None:
    scores = random_scores(15, 20, levels=3)
    generator = np.random.default_rng(2)
    items = np.concatenate([[7, 3, 11, 20], generator.choice([7, 3, 11, 20], 16)])
    queries = generator.choice([7, 3, 11, 20], 15)
    wanted = []
    for row, query in zip(scores, queries, strict=True):
        best = {name: max(row[items == name]) for name in (7, 3, 11, 20)}
        wanted.append(1 + sum(best[name] >= best[query] for name in best if name != query))
    assert class_ranks(scores, queries, items).tolist() == wanted


def test_a_class_without_items_cannot_be_ranked() -> None:
    with pytest.raises(ScoresError, match="No item is of the class 9, 12"):
        class_ranks(np.zeros((3, 2)), [1, 9, 12], [1, 2])
    with pytest.raises(ScoresError, match="do not fit 2 queries' and 2 items' classes"):
        class_ranks(np.zeros((3, 2)), [1, 2], [1, 2])


def test_the_first_answers_in_order() -> None:
    order, scores = top_k(np.array([[0.1, 0.9, 0.5, 0.9], [3.0, 2.0, 1.0, 0.0]]), 3)
    assert order.tolist() == [[1, 3, 2], [0, 1, 2]]
    assert scores.tolist() == [[0.9, 0.9, 0.5], [3.0, 2.0, 1.0]]
    assert top_k(np.eye(2), 10)[0].tolist() == [[0, 1], [1, 0]]
    with pytest.raises(ValueError, match="not the first 0"):
        top_k(np.eye(2), 0)
