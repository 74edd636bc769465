from __future__ import annotations

import ast
import csv
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from reeldex.embedding.errors import ScoresError
from reeldex.embedding.multi_instance import Action, class_relevance, mean_figures, query_figures

Matrix = npt.NDArray[np.float64]


def slow_figures(scores: Matrix, relevance: Matrix) -> tuple[float, float, float]:
    """Graded and binary average precision, and nDCG, by their definitions, one answer after the other."""
    average, binary, ndcg = [], [], []
    for row, grades in zip(scores.tolist(), relevance.tolist(), strict=True):
        ranked = [grade for _, grade in sorted(zip(row, grades, strict=True), key=lambda pair: (-pair[0], pair[1]))]
        full = ranked.count(1.0)
        average.append(sum(sum(ranked[: at + 1]) / (at + 1) for at, g in enumerate(ranked) if g == 1) / full)
        binary.append(sum(ranked[: at + 1].count(1.0) / (at + 1) for at, g in enumerate(ranked) if g == 1) / full)
        counted = sum(grade > 0 for grade in grades)
        gained = sum(grade / math.log2(at + 2) for at, grade in enumerate(ranked[:counted]))
        ideal = sorted(grades, reverse=True)
        ndcg.append(gained / sum(grade / math.log2(at + 2) for at, grade in enumerate(ideal[:counted])))
    return sum(average) / len(average), sum(binary) / len(binary), sum(ndcg) / len(ndcg)


def random_actions(count: int, seed: int) -> list[Action]:
    generator = np.random.default_rng(seed)
    return [
        Action(int(generator.integers(4)), frozenset(generator.integers(0, 5, generator.integers(1, 4)).tolist()))
        for _ in range(count)
    ]


def slow_relevance(video: Action, sentence: Action) -> float:
    """The mean of the overlaps of the verbs and of the sets of nouns."""
    return ((video.verb == sentence.verb) + len(video.nouns & sentence.nouns) / len(video.nouns | sentence.nouns)) / 2


def test_relevance_is_that_of_the_definition() -> None:
    videos, sentences = random_actions(25, 0), random_actions(40, 1)
    relevance = class_relevance(videos, sentences)
    assert relevance.shape == (25, 40)
    for row, video in enumerate(videos):
        for column, sentence in enumerate(sentences):
            assert relevance[row, column] == pytest.approx(slow_relevance(video, sentence), abs=1e-15)


def test_actions_without_nouns_share_none() -> None:
    assert class_relevance([Action(1, frozenset())], [Action(1, frozenset()), Action(2, frozenset({3}))]).tolist() == [
        [0.5, 0.0]
    ]
    with pytest.raises(ScoresError, match="at least one video and one sentence"):
        class_relevance([], [Action(1, frozenset())])


@pytest.mark.parametrize("levels", [0, 2])
def test_both_directions_are_those_of_the_slow_computation(levels: int) -> None:
    videos = random_actions(60, 0)
    sentences = list(dict.fromkeys(videos))
    relevance = class_relevance(videos, sentences)
    scores = np.random.default_rng(5).normal(size=relevance.shape)
    scores = np.round(scores * levels) if levels else scores
    for these, those in ((scores, relevance), (scores.T, relevance.T)):
        found = mean_figures(query_figures(these, those))
        wanted = slow_figures(these, those)
        assert (found.mean_average_precision, found.binary_average_precision, found.ndcg) == pytest.approx(
            wanted, abs=1e-12
        )
        assert found.query_count == len(these)


def test_more_queries_than_are_worked_on_at_a_time() -> None:
    generator = np.random.default_rng(0)
    relevance = generator.choice([0, 0.5, 1.0], (1100, 7))
    relevance[:, 0] = 1
    scores = generator.normal(size=relevance.shape)
    assert mean_figures(query_figures(scores, relevance)).ndcg == pytest.approx(slow_figures(scores, relevance)[2])


def test_the_perfect_ranking() -> None:
    relevance = class_relevance(random_actions(20, 3), list(dict.fromkeys(random_actions(20, 3))))
    found = mean_figures(query_figures(relevance, relevance))
    assert found.ndcg == pytest.approx(1)
    assert found.binary_average_precision == pytest.approx(1)
    assert found.mean_average_precision == pytest.approx(1)


def test_the_published_example_of_ndcg() -> None:
    # Of the example that the challenge's own program checks itself with.
    scores = np.array([[1.0, 0.7, 0.4, 0.0], [0.3, 0.9, 0.6, 0.1], [0.2, 0.5, 0.8, 0.4]])
    relevance = np.array([[1.0, 0.5, 0.25, 0.0], [0.0, 1.0, 0.4, 0.0], [0.5, 0.3, 1.0, 0.0]])
    assert mean_figures(query_figures(scores, relevance)).ndcg == pytest.approx(0.9371789900735429, abs=1e-12)


def test_what_cannot_be_measured_is_refused() -> None:
    relevance = np.array([[1.0, 0.5], [0.5, 0.5]])
    with pytest.raises(ScoresError, match="1 queries have no fully relevant answer, the first is number 1"):
        mean_figures(query_figures(np.zeros((2, 2)), relevance))
    with pytest.raises(ScoresError, match=r"\(2, 3\), and their relevance is \(2, 2\)"):
        mean_figures(query_figures(np.zeros((2, 3)), relevance))
    with pytest.raises(ScoresError, match="are NaN"):
        mean_figures(query_figures(np.full((2, 2), np.nan), relevance))
    with pytest.raises(ScoresError, match=r"must be in 0\.\.1"):
        mean_figures(query_figures(np.zeros((1, 1)), np.array([[2.0]])))
    mean_figures(query_figures(relevance[:1], relevance[:1]))
    Action(1, frozenset({2}))


def test_a_tie_is_broken_against_the_model() -> None:
    relevance = np.array([[1.0, 0.0, 0.0]])
    assert mean_figures(query_figures(np.zeros((1, 3)), relevance)).binary_average_precision == pytest.approx(1 / 3)


EPIC = Path(__file__).resolve().parents[2].parent / "shared" / "epic"


@pytest.mark.slow
@pytest.mark.skipif(not EPIC.is_dir(), reason="the published annotations lie outside this repository")
def test_the_published_annotations_are_measured_as_by_the_slow_computation() -> None:
    def rows(name: str) -> list[dict[str, str]]:
        with (EPIC / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    actions = {
        row["narration_id"]: Action(int(row["verb_class"]), frozenset(ast.literal_eval(row["all_noun_classes"])))
        for row in rows("EPIC_100_retrieval_test.csv")
    }
    sentences = [actions[row["narration_id"]] for row in rows("EPIC_100_retrieval_test_sentence.csv")]
    videos = list(actions.values())
    relevance = class_relevance(videos, sentences)
    assert relevance.shape == (9668, 3842)
    generator = np.random.default_rng(0)
    assert (relevance == 1).any(axis=0).all()
    assert (relevance == 1).any(axis=1).all()
    # In float32, the relevance of a third alone would move a mean by more than 1e-9.
    for graded, queries, answers in ((relevance, videos, sentences), (relevance.T, sentences, videos)):
        some = generator.choice(len(graded), 25, replace=False)
        wanted_grades = np.array([[slow_relevance(queries[at], answer) for answer in answers] for at in some])
        scores = generator.normal(size=wanted_grades.shape).astype(np.float32)
        found = mean_figures(query_figures(scores, graded[some]))
        wanted = slow_figures(scores.astype(np.float64), wanted_grades)
        figures = (found.mean_average_precision, found.binary_average_precision, found.ndcg)
        assert figures == pytest.approx(wanted, rel=0, abs=1e-9)
