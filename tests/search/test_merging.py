from __future__ import annotations

import random

import pytest

from reeldex.search.merging import merge_overlapping
from reeldex.search.results import Moment, SearchResults


def moment(start: float, end: float, score: float, video: str = "a") -> Moment:
    return Moment(int(score * 1000), video, f"/{video}", start, end, score, f"{video} {start}")


def spans(moments: list[Moment]) -> list[tuple[str, float, float, float]]:
    return [(each.video_id, each.start_seconds, each.end_seconds, each.score) for each in moments]


@pytest.mark.parametrize(
    ("ranked", "count", "wanted"),
    [
        ([], 3, []),
        # No answer is overlapped: a new one.
        ([(0, 8, 0.9), (8, 16, 0.8)], 3, [(0, 8, 0.9), (8, 16, 0.8)]),
        # One answer is lengthened.
        ([(4, 12, 0.9), (0, 8, 0.8), (8, 16, 0.7)], 3, [(0, 16, 0.9)]),
        # Left out: what only fills a freed place.
        ([(4, 12, 0.9), (0, 8, 0.8), (8, 16, 0.7), (40, 48, 0.6)], 2, [(0, 12, 0.9), (40, 48, 0.6)]),
        # Several answers are joined into the best of them, and the place goes to the next.
        (
            [(0, 8, 0.9), (10, 18, 0.8), (6, 12, 0.7), (30, 38, 0.6), (50, 58, 0.5)],
            3,
            [(0, 18, 0.9), (30, 38, 0.6), (50, 58, 0.5)],
        ),
        # The answers are complete: the end.
        ([(0, 8, 0.9), (20, 28, 0.8), (40, 48, 0.7)], 2, [(0, 8, 0.9), (20, 28, 0.8)]),
    ],
)
def test_moments_that_overlap_become_one(
    ranked: list[tuple[float, float, float]], count: int, wanted: list[tuple[float, float, float]]
) -> None:
    merged = merge_overlapping([moment(*each) for each in ranked], count)
    assert [(each.start_seconds, each.end_seconds, each.score) for each in merged] == wanted


def test_other_videos_are_other_moments_and_the_best_caption_stays() -> None:
    merged = merge_overlapping([moment(4, 12, 0.9), moment(4, 12, 0.8, "b"), moment(0, 8, 0.7)], 3)
    assert spans(merged) == [("a", 0, 12, 0.9), ("b", 4, 12, 0.8)]
    assert (merged[0].caption, merged[0].moment_id) == ("a 4", 900)


def test_what_overlaps_the_moment_asked_about_is_left_out() -> None:
    ranked = [moment(4, 12, 0.9), moment(12, 20, 0.8), moment(6, 14, 0.7)]
    assert spans(merge_overlapping(ranked, 3, [moment(0, 8, 1.0)])) == [("a", 12, 20, 0.8)]


def test_answers_never_overlap_and_more_candidates_change_nothing() -> None:
    chance = random.Random(3)  # noqa: S311 - nothing secret
    for _ in range(200):
        ranked = [_at(chance, 1 - rank / 100) for rank in range(60)]
        merged = merge_overlapping(ranked, 5)
        assert not any(a.overlaps(b) for at, a in enumerate(merged) for b in merged[at + 1 :])
        assert [each.score for each in merged] == sorted((each.score for each in merged), reverse=True)
        if len(merged) == 5:
            more = [*ranked, *(_at(chance, 0.1) for _ in range(5))]
            assert merge_overlapping(more, 5) == merged


def _at(chance: random.Random, score: float) -> Moment:
    start = 4.0 * chance.randrange(20)
    return moment(start, start + 8, score, chance.choice("ab"))


def test_results_are_a_sequence_of_frozen_moments() -> None:
    found = SearchResults((moment(0, 8, 0.5), moment(8, 16, 0.25)), ("zwiebel",), "zwiebel soup")
    assert len(found) == 2
    assert found[-1].score == 0.25
    assert found[:1] == (found[0],)
    assert list(found) == list(found.moments)
    assert found.to_json()["unknown_words"] == ["zwiebel"]
    with pytest.raises(AttributeError):
        found[0].score = 1.0  # type: ignore[misc]
    with pytest.raises(ValueError, match="cannot last from 8 to 0 seconds"):
        moment(8, 0, 0.5)
