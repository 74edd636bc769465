from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from reeldex.embedding.datasets.clips import Clip
from reeldex.embedding.datasets.records import EvaluationSet
from reeldex.embedding.errors import EmbeddingError, ScoresError
from reeldex.embedding.evaluation.evaluate import (
    evaluate_retrieval,
    evaluation_during_training,
    measure,
    score,
)
from reeldex.embedding.evaluation.metrics import bootstrap, class_ranks, ranks_of_right, summarise
from reeldex.embedding.model import ModelSpec, TextVideoEmbedding
from reeldex.embedding.multi_instance import mean_figures, query_figures
from reeldex.embedding.options import EvaluationOptions
from reeldex.embedding.training.train import new_model
from tests.embedding import synthetic
from tests.embedding.synthetic_sets import graded_set, random_scores, synthetic_set


@pytest.fixture
def model() -> TextVideoEmbedding:
    return new_model(synthetic.SPEC, 3)


@pytest.mark.parametrize("batch_size", [1, 5, 24, 1000])
def test_scores_are_the_model_s_whatever_the_batch(tmp_path: Path, model: TextVideoEmbedding, batch_size: int) -> None:
    test_set, words = synthetic_set(), synthetic.word_vectors(tmp_path)
    with torch.no_grad():
        sentences = torch.from_numpy(words.sentence_vectors(test_set.captions, 4))
        wanted = model.eval()(torch.from_numpy(test_set.videos(0, 24)), sentences).numpy()
    model.train()
    found = score(model, test_set, words, batch_size)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert not model.training


@pytest.mark.parametrize("batch_size", [1, 5, 7, 1000])
def test_equal_clips_and_equal_words_tie_to_the_last_bit(
    tmp_path: Path, model: TextVideoEmbedding, batch_size: int
) -> None:
    clips = [*synthetic.clips(2), Clip("copy of red", "red-0", ("and the red one", "nothing known", ""))]
    test_set = EvaluationSet("synthetic", clips, synthetic.KindReader())
    scores = score(model, test_set, synthetic.word_vectors(tmp_path), batch_size)
    assert scores.dtype == np.float32
    assert np.array_equal(scores[:, 16], scores[:, 0])
    assert np.array_equal(scores[32], scores[0]), "`and` has no vector"
    assert np.array_equal(scores[33], scores[34]), "neither has a known word"
    assert not np.array_equal(scores[33], scores[0])


def test_sentences_without_known_words_stay_and_are_counted(tmp_path: Path, model: TextVideoEmbedding) -> None:
    clips = [*synthetic.clips(1), Clip("unknown", "red-1", ("unheard", "..."))]
    result = evaluate_retrieval(
        model, [EvaluationSet("x", clips, synthetic.KindReader())], synthetic.word_vectors(tmp_path)
    )[0]
    assert result.directions["text_to_video"].retrieval.query_count == 8 * 2 + 2
    assert (result.clip_count, result.directions["video_to_text"].retrieval.query_count) == (9, 9)
    coverage = result.coverage
    assert coverage is not None
    assert (coverage.sentences, coverage.wordless_sentences, coverage.unknown_words) == (18, 2, 9)
    assert coverage.frequent_unknown == ("again", "unheard")


@pytest.mark.slow
def test_no_more_is_held_than_the_scores_the_clips_and_a_batch(tmp_path: Path) -> None:
    wide = new_model(ModelSpec(synthetic.SPEC.video_dim, 2000, synthetic.SPEC.word_dim, max_words=4), 1)
    clips = [
        Clip(f"{kind}-{at}", f"{kind}-{at}", (f"the {kind} one",) * 500) for at in range(2) for kind in synthetic.KINDS
    ]
    test_set = EvaluationSet("x", clips, synthetic.KindReader())
    words = synthetic.word_vectors(tmp_path)
    score(wide, EvaluationSet("x", clips[:1], synthetic.KindReader()), words, 50)
    tracemalloc.start()
    scores = score(wide, test_set, words, 50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    embeddings = len(scores) * 2000 * 4
    assert peak < embeddings / 10, "8000 sentences' embeddings would be 64 MB"


def test_several_sentences_a_video_are_drawn_together_for_the_intervals() -> None:
    test_set = EvaluationSet("x", synthetic.clips(3), synthetic.KindReader())
    scores = random_scores(48, 24)
    ranks = ranks_of_right(scores, test_set.right_clips)
    found = measure(scores, test_set).directions["text_to_video"].intervals
    assert {name: found[name] for name in ("recall_at_1", "median_rank")}.items() <= bootstrap(
        ranks, groups=test_set.right_clips
    ).items()


def test_vectors_of_another_length_are_said(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match=r"video vectors of 9 and word vectors of 6 .* synthetic have 12"):
        score(new_model(ModelSpec(9, 4, 6), 1), synthetic_set(), synthetic.word_vectors(tmp_path))


def test_both_directions_over_the_whole_set() -> None:
    test_set, scores = synthetic_set(classes=False), random_scores(24, 24)
    result = measure(scores, test_set)
    assert result.directions["text_to_video"].retrieval == summarise(ranks_of_right(scores))
    assert result.directions["video_to_text"].retrieval == summarise(ranks_of_right(scores.T))
    assert (result.clip_count, result.sentence_count, result.unusable.complete) == (24, 24, True)
    for held in result.directions.values():
        assert held.by_class is None
        assert held.multi_instance is None
        assert set(held.intervals) == {"recall_at_1", "recall_at_5", "recall_at_10", "median_rank"}
    assert not measure(scores, test_set, EvaluationOptions(resamples=0)).directions["text_to_video"].intervals


def test_several_sentences_a_clip() -> None:
    right = np.array([0, 0, 2, 2, 2])
    captions = tuple("abcde")
    test_set = EvaluationSet("several", synthetic.clips(3)[:4], synthetic.KindReader(), captions, right)
    result = measure(random_scores(5, 4), test_set)
    assert result.directions["text_to_video"].retrieval.query_count == 5
    assert result.directions["video_to_text"].retrieval.query_count == 2


def test_classes_are_ranked_where_every_clip_has_one() -> None:
    test_set, scores = synthetic_set(), random_scores(24, 24)
    result = measure(scores, test_set)
    classes = test_set.class_ids
    assert result.directions["text_to_video"].by_class == summarise(class_ranks(scores, classes, classes))
    assert result.directions["video_to_text"].by_class == summarise(class_ranks(scores.T, classes, classes))


def test_a_class_that_no_sentence_has_is_not_asked_for() -> None:
    right = np.array([0, 1])
    test_set = EvaluationSet("few", synthetic.clips(1)[:4], synthetic.KindReader(), ("a", "b"), right)
    by_class = measure(random_scores(2, 4), test_set).directions["video_to_text"].by_class
    assert by_class is not None
    assert by_class.query_count == 2


def test_graded_relevance_is_measured_in_both_directions() -> None:
    test_set, scores = graded_set(), random_scores(6, 8)
    assert test_set.relevance is not None
    result = measure(scores, test_set)
    assert result.directions["text_to_video"].multi_instance == mean_figures(query_figures(scores, test_set.relevance))
    found = result.directions["video_to_text"].multi_instance
    asked = (test_set.relevance == 1).any(axis=0)
    assert not asked[7]
    assert found == mean_figures(query_figures(scores.T[asked], test_set.relevance.T[asked]))
    assert result.directions["text_to_video"].by_class is None


def test_every_figure_but_the_number_of_queries_has_its_interval() -> None:
    for result in (measure(random_scores(24, 24), synthetic_set()), measure(random_scores(6, 8), graded_set())):
        for held in result.directions.values():
            figures = {name: value for name, value in held.figures().items() if not name.endswith("query_count")}
            assert held.intervals.keys() == figures.keys()
            for name, value in figures.items():
                assert held.intervals[name].low <= value <= held.intervals[name].high
    assert (
        measure(random_scores(6, 8), graded_set(), EvaluationOptions(resamples=0)).directions["text_to_video"].intervals
        == {}
    )


def test_scores_that_do_not_fit_or_are_nan_are_refused() -> None:
    with pytest.raises(ScoresError, match=r"\(24, 24\) sentences and clips, and the scores are \(3, 3\)"):
        measure(random_scores(3, 3), synthetic_set())
    scores = random_scores(24, 24)
    scores[0, 0] = np.nan
    with pytest.raises(ScoresError, match="are NaN"):
        measure(scores, synthetic_set())
    with pytest.raises(ValueError, match="batch_size"):
        EvaluationOptions(batch_size=0)


def test_figures_go_by_set_direction_and_name(tmp_path: Path, model: TextVideoEmbedding) -> None:
    words = synthetic.word_vectors(tmp_path)
    figures = evaluation_during_training([synthetic_set(), graded_set()], words, 5)(model)
    results = evaluate_retrieval(model, [synthetic_set(), graded_set()], words)
    assert (
        figures["synthetic/text_to_video/recall_at_10"] == results[0].directions["text_to_video"].retrieval.recall_at_10
    )
    assert {"synthetic/video_to_text/class/median_rank", "graded/text_to_video/multi_instance/ndcg"} <= set(figures)
