"""Evaluation on a whole test set: scores computed in batches, then the figures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from reeldex.embedding.datasets.localization import EvaluatedSet, LocalizationSet
from reeldex.embedding.datasets.protocols import SetIdentity
from reeldex.embedding.datasets.records import EvaluationSet
from reeldex.embedding.datasets.unusable import UnusableVideos
from reeldex.embedding.errors import EmbeddingError, ScoresError
from reeldex.embedding.evaluation.localization import LocalizationResult, localize
from reeldex.embedding.evaluation.metrics import (
    Integers,
    Interval,
    RetrievalMetrics,
    bootstrap,
    bootstrap_means,
    class_ranks,
    in_row_blocks,
    ranks_of_any_right,
    ranks_of_right,
    summarise,
)
from reeldex.embedding.model import TextVideoEmbedding
from reeldex.embedding.multi_instance import (
    FIGURES,
    MultiInstanceMetrics,
    has_right_answer,
    mean_figures,
    query_figures,
)
from reeldex.embedding.options import EvaluationOptions
from reeldex.embedding.words.coverage import WordCoverage, measure_coverage
from reeldex.embedding.words.vectors import WordVectors, tokenise

_DEFAULTS = EvaluationOptions()

Scores = npt.NDArray[np.float32]
DIRECTIONS = ("text_to_video", "video_to_text")


@dataclass(frozen=True)
class DirectionResult:
    """The figures of one direction. `by_class` ranks verb classes, `multi_instance` uses graded relevance.

    `intervals` has the names of `figures`.
    """

    retrieval: RetrievalMetrics
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    by_class: RetrievalMetrics | None = None
    multi_instance: MultiInstanceMetrics | None = None

    def figures(self) -> dict[str, float]:
        """Return all figures by name, those of classes as `class/...`, of relevance as `multi_instance/...`."""
        found = self.retrieval.to_json()
        for prefix, more in (("class", self.by_class), ("multi_instance", self.multi_instance)):
            if more is not None:
                found.update({f"{prefix}/{name}": value for name, value in more.to_json().items()})
        return found


@dataclass(frozen=True)
class SetResult:
    """A model's results on a test set by direction, the identity of the set, and what was left out of it.

    `coverage` is the share of its words that have a vector, None if it was not measured.

    `clip_count` counts the candidates: the videos or clips that are ranked.
    """

    name: str
    clip_count: int
    sentence_count: int
    unusable: UnusableVideos
    directions: Mapping[str, DirectionResult]
    identity: SetIdentity
    coverage: WordCoverage | None = None

    def figures(self) -> dict[str, float]:
        """Return all figures by `<set>/<direction>/<figure>`, for TensorBoard and to choose the best checkpoint by."""
        return {
            f"{self.name}/{direction}/{name}": value
            for direction, result in self.directions.items()
            for name, value in result.figures().items()
        }


Result: TypeAlias = SetResult | LocalizationResult


def score(
    model: TextVideoEmbedding, test_set: EvaluationSet, words: WordVectors, batch_size: int = _DEFAULTS.batch_size
) -> Scores:
    """Return the scores of all sentences of a set against all its clips: (M, N) float32.

    Clips with equal features, and sentences with the same known words, have bit-identical scores, so ties do not
    depend on rounding. A sentence without a known word is scored as an empty one, as in the published code. Besides
    the scores, memory holds the embeddings of the clips and of one batch of sentences. The model is left in evaluation
    mode. Raises EmbeddingError when the dimensions of the set's vectors do not match the model's.
    """
    spec = model.spec
    if test_set.video_dim != spec.video_dim or words.dim != spec.word_dim:
        raise EmbeddingError(
            f"The model takes video vectors of {spec.video_dim} and word vectors of {spec.word_dim} dimensions; those "
            f"of {test_set.name} have {test_set.video_dim}, the word vectors {words.dim}. Use those of its training."
        )
    model.eval()
    videos, same_clip = _embed_clips(model, test_set, batch_size)
    copied_clips = np.flatnonzero(same_clip != np.arange(len(same_clip)))
    scores = np.empty((len(test_set.captions), len(videos)), dtype=np.float32)
    for first in range(0, len(scores), batch_size):
        captions = test_set.captions[first : first + batch_size]
        vectors = words.sentence_vectors(captions, spec.max_words)
        block = scores[first : first + batch_size]
        with torch.no_grad():
            embedded = model.embed_sentences(torch.from_numpy(vectors).to(_device(model)))
        np.matmul(embedded.float().cpu().numpy(), videos.T, out=block)
        block[:, copied_clips] = block[:, same_clip[copied_clips]]
    _copy_equal_sentences(scores, test_set, words, spec.max_words, batch_size)
    return scores


def _embed_clips(model: TextVideoEmbedding, test_set: EvaluationSet, batch_size: int) -> tuple[Scores, Integers]:
    """Embed all clips, (N, embed_dim); and for each, the number of the first with the same features, (N,)."""
    count = len(test_set.clips)
    parts, same = [], []
    seen: dict[bytes, int] = {}
    for first in range(0, count, batch_size):
        vectors = test_set.videos(first, min(first + batch_size, count))
        same += [seen.setdefault(hashlib.sha256(row.tobytes()).digest(), first + at) for at, row in enumerate(vectors)]
        with torch.no_grad():
            parts.append(model.embed_videos(torch.from_numpy(vectors).to(_device(model))).float().cpu().numpy())
    return np.concatenate(parts), np.array(same, dtype=np.int64)


def _copy_equal_sentences(
    scores: Scores, test_set: EvaluationSet, words: WordVectors, max_words: int, batch_size: int
) -> None:
    """Return each sentence the scores of the first one with the same known words."""
    seen: dict[tuple[str, ...], int] = {}
    known = [tuple([word for word in tokenise(said) if word in words][:max_words]) for said in test_set.captions]
    same = np.array([seen.setdefault(each, at) for at, each in enumerate(known)], dtype=np.int64)
    copied = np.flatnonzero(same != np.arange(len(same)))
    for first in range(0, len(copied), batch_size):
        these = copied[first : first + batch_size]
        scores[these] = scores[same[these]]


def _device(model: TextVideoEmbedding) -> torch.device:
    return next(model.parameters()).device


def measure(
    scores: Scores,
    test_set: EvaluationSet,
    options: EvaluationOptions | None = None,
    coverage: WordCoverage | None = None,
) -> SetResult:
    """Return the figures of both directions; raises ScoresError for NaN.

    Text to video ranks the clips for every sentence. Video to text ranks all sentences for every clip that has one,
    and takes the best of its own.
    """
    how = options or EvaluationOptions()
    shape = (len(test_set.captions), len(test_set.clips))
    if scores.shape != shape:
        raise ScoresError(f"{test_set.name} has {shape} sentences and clips, and the scores are {scores.shape}.")
    right = test_set.right_clips
    ranks = (ranks_of_right(scores, right), ranks_of_any_right(scores, right))
    classes = test_set.class_ids
    graded = test_set.relevance
    results = {}
    for at, direction in enumerate(DIRECTIONS):
        these = scores if at == 0 else scores.T
        # The sentences of a video are drawn together; each video is one query.
        intervals = _intervals("", partial(bootstrap, groups=right if at == 0 else None), ranks[at], how)
        by_class = several = None
        if graded is None and (classes >= 0).all():
            ends = (classes[right], classes)
            found = _class_ranks(these, ends[at], ends[1 - at])
            by_class = summarise(found)
            intervals.update(_intervals("class/", bootstrap, found, how))
        if graded is not None:
            figures = _graded_figures(these, graded if at == 0 else graded.T)
            several = mean_figures(figures)
            intervals.update(_intervals("multi_instance/", partial(bootstrap_means, names=FIGURES), figures, how))
        results[direction] = DirectionResult(summarise(ranks[at]), intervals, by_class, several)
    return SetResult(test_set.name, shape[1], shape[0], test_set.unusable, results, test_set.identity(), coverage)


def _intervals(
    prefix: str, draw: Callable[..., dict[str, Interval]], measured: npt.NDArray[Any], how: EvaluationOptions
) -> dict[str, Interval]:
    if not how.resamples:
        return {}
    found = draw(measured, resamples=how.resamples, seed=how.seed)
    return {f"{prefix}{name}": interval for name, interval in found.items()}


def _class_ranks(scores: Scores, query_classes: Integers, item_classes: Integers) -> Integers:
    # A clip that is not the right one of any sentence may have a class that no sentence has.
    asked = np.isin(query_classes, item_classes)
    these = scores if asked.all() else scores[asked]
    return class_ranks(these, query_classes[asked], item_classes)


def _graded_figures(scores: Scores, relevance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # With some videos left out, others may have no fully relevant answer; `query_count` shows it.
    asked = np.flatnonzero(has_right_answer(relevance))
    shape = (len(asked), scores.shape[1])
    return in_row_blocks(shape, lambda block: query_figures(scores[asked[block]], relevance[asked[block]]))


def evaluate_retrieval(
    model: TextVideoEmbedding,
    test_sets: Iterable[EvaluationSet],
    words: WordVectors,
    options: EvaluationOptions | None = None,
) -> list[SetResult]:
    """Evaluate a model on test sets, each as a whole."""
    how = options or EvaluationOptions()
    return [
        measure(score(model, each, words, how.batch_size), each, how, measure_coverage(each.captions, words))
        for each in test_sets
    ]


def evaluation_during_training(
    test_sets: Iterable[EvaluatedSet], words: WordVectors, batch_size: int = _DEFAULTS.batch_size
) -> Callable[[TextVideoEmbedding], dict[str, float]]:
    """Return what `TrainingJob.evaluate` needs: all figures of all sets by name, without intervals."""
    kept = list(test_sets)
    how = EvaluationOptions(batch_size=batch_size, resamples=0)

    def run(model: TextVideoEmbedding) -> dict[str, float]:
        figures: dict[str, float] = {}
        for each in kept:
            if isinstance(each, LocalizationSet):
                figures.update(localize(model, each, words, batch_size).figures())
            else:
                figures.update(evaluate_retrieval(model, [each], words, how)[0].figures())
        return figures

    return run
