"""Small test sets of synthetic clips, and scores for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reeldex.embedding.datasets.records import EvaluationSet
from reeldex.embedding.datasets.unusable import UnusableVideos
from reeldex.embedding.evaluation.evaluate import Scores
from tests.embedding import synthetic


def synthetic_set(name: str = "synthetic", *, classes: bool = True) -> EvaluationSet:
    clips = [replace(clip, captions=clip.captions[:1]) for clip in synthetic.clips(3)]
    return EvaluationSet(
        name, clips if classes else [replace(clip, class_id=-1) for clip in clips], synthetic.KindReader()
    )


def random_scores(sentences: int, clips: int) -> Scores:
    return np.random.default_rng(0).normal(size=(sentences, clips)).astype(np.float32)


def graded_set(name: str = "graded") -> EvaluationSet:
    relevance = np.random.default_rng(1).choice([0, 0.5, 1], (6, 8))
    relevance[np.arange(6), np.arange(6)] = 1
    relevance[:, 7] = 0.5
    return EvaluationSet(
        name,
        synthetic.clips(1),
        synthetic.KindReader(),
        tuple("abcdef"),
        np.arange(6),
        relevance,
        UnusableVideos(9, {"lost": "no file"}),
    )
