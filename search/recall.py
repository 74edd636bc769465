"""Measures recall@10: the share of the 10 best moments that a search finds, compared with exhaustive search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reeldex.search.ann_index import AnnIndex
from reeldex.search.generation import Recall
from reeldex.search.moment_table import Floats, MomentTable
from reeldex.search.options import RECALL_TARGET
from reeldex.search.ranking import Ranker
from reeldex.search.sentences import SentenceTower

DEPTH = 10
_FIRST_PROBES = 4
_MORE_LISTS = 1.5
_TIED = 1e-6
_NOISE = 0.5
_FREQUENT_WORDS = 20_000
_WORDS_A_SENTENCE = 4


@dataclass(frozen=True, eq=False)
class RecallSample:
    """Queries (Q, D) float32 and their kind; always the same for the same index."""

    queries: Floats
    kind: str


def draw_sample(table: MomentTable, sentences: SentenceTower, count: int) -> RecallSample:
    """Draw queries: captions of moments if there are any, else synthetic ones.

    Half of the synthetic queries are sentences of vocabulary words, half are perturbed moments.
    """
    generator = np.random.default_rng(0)
    ids = table.ids()
    chosen = np.sort(generator.choice(ids, min(len(ids), 4 * count), replace=False))
    captions = [caption for moment in chosen.tolist() if (caption := table.window(moment)[1].caption)]
    known = [caption for caption in captions if sentences.knows(caption)][:count]
    if known:
        return RecallSample(sentences.embed(known), "captions")
    words = sentences.frequent_words(_FREQUENT_WORDS)
    synthetic = [" ".join(generator.choice(words, _WORDS_A_SENTENCE)) for _ in range(-(-count // 2))]
    moments = table.embeddings(generator.choice(ids, count // 2)).astype(np.float32)
    noise = generator.standard_normal(moments.shape, dtype=np.float32)
    noise *= _NOISE / np.sqrt(np.float32(table.embed_dim))
    perturbed = moments + noise
    perturbed /= np.maximum(np.linalg.norm(perturbed, axis=1, keepdims=True), np.float32(1e-12))
    queries = np.concatenate([sentences.embed(synthetic), perturbed])
    return RecallSample(queries, "synthetic queries")


def exact_thresholds(table: MomentTable, queries: Floats) -> Floats:
    """Return the score of each query's 10th best moment (the last, if there are fewer), comparing with all: (Q,)."""
    best = np.full((len(queries), DEPTH), -np.inf, dtype=np.float32)
    for _, block in table.blocks():
        scores = np.concatenate([best, queries @ block.T], axis=1)
        best = -np.partition(-scores, DEPTH - 1, axis=1)[:, :DEPTH]
    # Of fewer moments than ten, the places left are not taken.
    thresholds: Floats = np.where(np.isfinite(best), best, np.inf).min(axis=1).astype(np.float32)
    return thresholds


def measure(ranker: Ranker, queries: Floats, thresholds: Floats) -> float:
    """Return the recall at 10 in 0..1; what ties with the 10th best moment counts as found."""
    depth = min(DEPTH, len(ranker.table))
    found = 0
    for query, threshold in zip(queries, thresholds, strict=True):
        _, scores = ranker.first(query, DEPTH)
        found += min(depth, int(np.count_nonzero(scores >= threshold - _TIED)))
    return found / (depth * len(queries))


def settle_nprobe(
    table: MomentTable, ann_index: AnnIndex, candidates: int, nprobe: int, sample: RecallSample
) -> tuple[int, Recall]:
    """Measure the recall, with `nprobe` lists, or with as few as reach 0.97 when that is 0: (nprobe, recall)."""
    thresholds = exact_thresholds(table, sample.queries)
    recall = 0.0
    tried = _tries(ann_index, nprobe)
    for number in tried:
        recall = measure(Ranker(table, ann_index, candidates, number), sample.queries, thresholds)
        nprobe = number
        if recall >= RECALL_TARGET:
            break
    return nprobe, Recall(round(recall, 4), len(sample.queries), sample.kind)


def _tries(ann_index: AnnIndex, nprobe: int) -> Sequence[int]:
    if not ann_index.nlist:
        return [0]
    if nprobe:
        return [min(nprobe, ann_index.nlist)]
    tries = [_FIRST_PROBES]
    while tries[-1] < ann_index.nlist:
        tries.append(min(ann_index.nlist, int(tries[-1] * _MORE_LISTS)))
    return tries
