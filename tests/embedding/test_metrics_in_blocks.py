"""Several sentences per video: the ranks in blocks against slow and obvious twins, and how much memory they take."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from reeldex.embedding.errors import ScoresError
from reeldex.embedding.evaluation.metrics import (
    Floats,
    Integers,
    bootstrap,
    checked_scores,
    class_ranks,
    ranks_of_any_right,
    ranks_of_right,
    summarise,
    top_k,
)
from reeldex.embedding.multi_instance import has_right_answer

BLOCKS = (1, 2, 7, 64, 10_000, None)


def random_set(seed: int) -> tuple[Floats, Integers]:
    """Draw up to 30 videos of 1 to 20 sentences each, in any order, with many ties in every second set."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(1, 21, generator.integers(2, 31))
    right = generator.permutation(np.repeat(np.arange(len(counts)), counts))
    scores = generator.normal(size=(len(right), len(counts)))
    return (np.round(scores) if seed % 2 else scores), right


def slow_text_to_video(scores: Floats, right: Integers) -> list[int]:
    ranks = []
    for sentence, video in enumerate(right.tolist()):
        better = [
            each
            for each in range(scores.shape[1])
            if each != video and scores[sentence, each] >= scores[sentence, video]
        ]
        ranks.append(1 + len(better))
    return ranks


def slow_video_to_text(scores: Floats, right: Integers) -> list[int]:
    ranks = []
    for video in range(scores.shape[1]):
        # The published way: each own sentence is ranked among all, and the best of these ranks counts.
        own = [sentence for sentence in range(len(right)) if right[sentence] == video]
        others = [sentence for sentence in range(len(right)) if right[sentence] != video]
        ranks.append(min(1 + sum(scores[each, video] >= scores[mine, video] for each in others) for mine in own))
    return ranks


@pytest.mark.parametrize("seed", range(20))
def test_ranks_in_blocks_are_those_of_the_slow_count(seed: int) -> None:
    scores, right = random_set(seed)
    text_to_video, video_to_text = slow_text_to_video(scores, right), slow_video_to_text(scores, right)
    for block_rows in BLOCKS:
        assert ranks_of_right(scores, right, block_rows=block_rows).tolist() == text_to_video
        assert ranks_of_any_right(scores, right, block_rows=block_rows).tolist() == video_to_text


@pytest.mark.parametrize("sentences", [1, 2, 20])
def test_a_perfect_model_is_perfect_however_many_sentences_a_video_has(sentences: int) -> None:
    videos = np.random.default_rng(0).normal(size=(36, 64))
    right = np.repeat(np.arange(36), sentences)
    scores = videos[right] @ videos.T
    for ranks in (ranks_of_right(scores, right), ranks_of_any_right(scores, right)):
        found = summarise(ranks)
        assert (found.recall_at_1, found.recall_at_10, found.median_rank) == (1, 1, 1)


def test_ties_between_different_videos_still_count_against_the_model() -> None:
    videos = np.random.default_rng(0).normal(size=(36, 64))
    videos[7] = videos[21]
    right = np.repeat(np.arange(36), 20)
    scores = videos[right] @ videos.T
    scores[:, 21] = scores[:, 7]
    assert summarise(ranks_of_right(scores, right)).recall_at_1 == 34 / 36
    assert summarise(ranks_of_any_right(scores, right)).recall_at_1 == 34 / 36
    same = np.zeros((720, 36))
    assert set(ranks_of_right(same, right)) == {36}
    assert set(ranks_of_any_right(same, right)) == {700 + 1}, "all sentences of the 35 other videos stand before"


def test_a_sentence_that_two_videos_have_ties_with_itself() -> None:
    scores = np.array([[3.0, 1.0], [3.0, 1.0], [0.0, 2.0]])
    right = np.array([0, 1, 1])
    assert ranks_of_right(scores, right).tolist() == [1, 2, 1]
    assert ranks_of_any_right(scores, right).tolist() == [2, 1], "the other video's copy stands before one's own"


@pytest.mark.parametrize("block_rows", BLOCKS)
def test_nan_is_found_in_whatever_block(block_rows: int | None) -> None:
    scores, right = random_set(0)
    scores[5, 1] = scores[9, 0] = np.nan
    with pytest.raises(ScoresError, match=f"2 of {scores.size} scores are NaN, the first in row 5, column 1"):
        checked_scores(scores, block_rows)
    for ranks in (ranks_of_right, ranks_of_any_right):
        with pytest.raises(ScoresError, match="are NaN"):
            ranks(scores, right, block_rows=block_rows)


@pytest.mark.parametrize("block_rows", BLOCKS)
def test_classes_and_first_answers_in_blocks(block_rows: int | None) -> None:
    scores, right = random_set(3)
    items: Integers = np.random.default_rng(1).integers(0, 4, (scores.shape[1],))
    queries = items[right]
    assert class_ranks(scores, queries, items, block_rows=block_rows).tolist() == [
        1 + sum(max(row[items == other]) >= max(row[items == query]) for other in set(items.tolist()) if other != query)
        for row, query in zip(scores, queries, strict=True)
    ]
    order, values = top_k(scores, 4, right, block_rows=block_rows)
    for at, (row, mine) in enumerate(zip(scores.tolist(), right.tolist(), strict=True)):
        slow = sorted(range(len(row)), key=lambda each: (-row[each], each == mine, each))[:4]
        assert order[at].tolist() == slow
        assert values[at].tolist() == [row[each] for each in slow]
    ranks = ranks_of_right(scores, right)
    found = order == right[:, None]
    assert (found.argmax(axis=1) + 1)[found.any(axis=1)].tolist() == ranks[ranks <= 4].tolist()


@pytest.mark.slow
def test_memory_follows_the_block_and_not_the_scores() -> None:
    scores = np.random.default_rng(0).normal(size=(20_000, 300)).astype(np.float32)
    right = np.arange(20_000) % 300
    row_bytes = scores.nbytes // len(scores)
    works: tuple[Callable[[int], object], ...] = (
        lambda block_rows: ranks_of_right(scores, right, block_rows=block_rows),
        lambda block_rows: ranks_of_any_right(scores, right, block_rows=block_rows),
        lambda block_rows: class_ranks(scores, right, np.arange(300), block_rows=block_rows),
        lambda block_rows: top_k(scores, 1, right, block_rows=block_rows),
    )
    for work in works:
        few, many = peak_bytes(partial(work, 50)), peak_bytes(partial(work, 5_000))
        # A handful of numbers for each sentence is always held.
        assert few < 50 * 12 * row_bytes + 8 * 20_000 * 8, "far from the scores' 24 MB"
        assert few < scores.nbytes / 8
        assert many > few + 1_000 * row_bytes


def test_memory_by_default_is_bounded_too() -> None:
    scores = np.zeros((100_000, 200), dtype=np.float32)
    right = np.arange(100_000) % 200
    for work in (ranks_of_right, ranks_of_any_right):
        assert peak_bytes(partial(work, scores, right)) < scores.nbytes / 4
    assert peak_bytes(lambda: has_right_answer(scores)) < scores.nbytes / 8


def peak_bytes(work: Callable[[], object]) -> int:
    """Return the most memory that was allocated while working, beyond what was there."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# Intervals


def slow_interval(ranks: Integers, groups: Integers, measure: Callable[[Integers], float]) -> tuple[float, float]:
    generator = np.random.default_rng(0)
    names = np.unique(groups)
    found = []
    for _ in range(1000):
        drawn = [ranks[groups == names[at]] for at in generator.integers(0, len(names), len(names))]
        found.append(measure(np.concatenate(drawn)))
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def test_the_sentences_of_a_video_are_drawn_together() -> None:
    generator = np.random.default_rng(2)
    groups = generator.permutation(np.repeat(np.arange(15), generator.integers(1, 21, 15)))
    ranks = generator.integers(1, 30, len(groups))
    found = bootstrap(ranks, groups=groups)
    for name, measure in (
        ("recall_at_5", lambda drawn: float((drawn <= 5).mean())),
        ("median_rank", lambda drawn: float(np.median(drawn))),
    ):
        assert (found[name].low, found[name].high) == pytest.approx(slow_interval(ranks, groups, measure))


def test_copies_of_each_sentence_make_no_interval_narrower() -> None:
    ranks = np.random.default_rng(3).integers(1, 30, 100)
    once, often = bootstrap(ranks), bootstrap(np.repeat(ranks, 20), groups=np.repeat(np.arange(100), 20))
    for name, interval in once.items():
        assert (often[name].low, often[name].high) == pytest.approx((interval.low, interval.high))


def test_groups_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ScoresError, match="one group for each of 3 queries"):
        bootstrap([1, 2, 3], groups=[0, 1])
