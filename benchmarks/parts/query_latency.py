"""The latency of a query: the text tower at the published size, and candidates of a FAISS index with exact scores.

Each kind of index is searched with the narrowest width that reaches recall@10 0.95, one query at a time on one thread;
re-ranking of the candidates by their float16 embeddings is included. The data are those of `benchmarks.search_recall`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch

from benchmarks.measuring import Figure, Spread, seconds
from benchmarks.search_index import vocabulary, write_words
from benchmarks.search_recall import ROWS_AT_A_TIME, World
from benchmarks.sizes import Size
from reeldex.embedding.model import ModelSpec, TextVideoEmbedding
from reeldex.embedding.text_tower import TextTower
from reeldex.search.ann_index import choose_factory
from reeldex.search.options import IndexOptions

RECALL = 0.95
_CANDIDATES = IndexOptions().rerank_candidates
_TRAINED_ON = 40 * 4096


def tower(size: Size, folder: Path) -> Iterator[Figure]:
    """Time sentences of six words, against the model in PyTorch."""
    torch.manual_seed(0)
    spec = ModelSpec(video_dim=64, embed_dim=size.embed_dim)
    model = TextVideoEmbedding(spec).eval()
    words = write_words(folder / "words", 10_000, spec.word_dim)
    TextTower.from_weights(model.state_dict(), spec.max_words).save(folder / "tower")
    mapped = TextTower.open(folder / "tower")
    generator = np.random.default_rng(1)
    sentences = [" ".join(generator.choice(vocabulary(10_000), 6)) for _ in range(20 * size.runs)]
    with torch.inference_mode():
        expected = model.embed_sentences(torch.from_numpy(words.sentence_vectors(sentences, spec.max_words))).numpy()
    found = np.concatenate([mapped.embed(words, [each]) for each in sentences])
    difference = float(np.abs(found - expected).max())
    assert difference < 1e-5, difference
    times = [1000 * seconds(lambda each=each: mapped.embed(words, [each])) for each in sentences]  # type: ignore[misc]
    checked = f"PyTorch's embeddings, largest difference {difference:.0e}"
    what = f"text tower, {size.embed_dim} dimensions"
    yield Figure("a query", what, "ms", Spread.of(times), checked, "at most", 4)
    matrices = [layer[0] for layer in (mapped.word, mapped.joint, mapped.gate)]
    vectors = [np.ones(matrix.shape[1], np.float32) for matrix in matrices]
    limit = [
        1000 * seconds(lambda: [matrix @ vector for matrix, vector in zip(matrices, vectors, strict=True)])
        for _ in sentences
    ]
    size_mb = sum(matrix.nbytes for matrix in matrices) / 1e6
    yield Figure(
        "a query", f"its limit: reading its {size_mb:.0f} MB of weights, one product each", "ms", Spread.of(limit),
        checked,
    )  # fmt: skip


def widths(factory: str) -> list[Any]:
    """Return search parameters from narrow to wide."""
    if factory.startswith("HNSW"):
        return [faiss.SearchParametersHNSW(efSearch=each) for each in (*range(32, 512, 32), 512, 768, 1024)]
    tries = sorted({round(4 * 1.05**step) for step in range(100)})  # up to 501 lists
    return [faiss.SearchParametersIVF(nprobe=each) for each in tries]


def search(index: Any, parameters: Any, query: np.ndarray, halves: np.ndarray) -> np.ndarray:  # noqa: ANN401 - FAISS
    """Return the ten best moments for a query, ranked by their exact scores."""
    _, found = index.search(query[np.newaxis], _CANDIDATES, params=parameters)
    ids = found[0][found[0] >= 0]
    scores = halves[ids].astype(np.float32) @ query
    best: np.ndarray = ids[np.argsort(-scores)[:10]]
    return best


def index_latency(
    factory: str, moments: np.ndarray, halves: np.ndarray, queries: np.ndarray, wanted: np.ndarray
) -> tuple[list[float], float]:
    """Build an index, and return the latencies in milliseconds and the recall of the first width that suffices."""
    started = time.perf_counter()
    index = faiss.index_factory(moments.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.train(moments[:_TRAINED_ON])
    for first in range(0, len(moments), 50_000):
        index.add(moments[first : first + 50_000])
    print(f"  {factory} built in {time.perf_counter() - started:.0f} s", flush=True)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        for parameters in widths(factory):
            found = [search(index, parameters, query, halves) for query in queries]
            hits = [len(set(a) & set(b)) for a, b in zip(found, wanted, strict=True)]
            recall = sum(hits) / wanted.size
            if recall >= RECALL:
                break
        times = [1000 * seconds(lambda q=query: search(index, parameters, q, halves)) for query in queries]  # type: ignore[misc]
    finally:
        faiss.omp_set_num_threads(threads)
    return times, recall


def measure(size: Size, folder: Path) -> Iterator[Figure]:
    """Measure the tower, and each kind of index."""
    yield from tower(size, folder)
    world = World(size.dims)
    generator = np.random.default_rng(2)
    moments = np.empty((size.moments, size.dims), np.float32)
    for first in range(0, size.moments, ROWS_AT_A_TIME):
        rows = min(ROWS_AT_A_TIME, size.moments - first)
        moments[first : first + rows] = world.moments(generator, rows)
    halves = moments.astype(np.float16)
    queries = world.queries(np.random.default_rng(3), size.queries)
    wanted = exhaustive(moments, queries)
    # Moments are centred, queries are not, as in the product.
    moments -= moments.mean(axis=0)
    ours = choose_factory(IndexOptions(exact_below=0), size.moments, size.dims)
    part = f"a query, index of {size.moments:,} x {size.dims}, recall@10 of {RECALL}, one thread"
    for factory, note in ((ours, "`auto`"), (f"{ours.partition(',')[0]},SQ8", "before"), ("HNSW16,SQ8", "a graph")):
        times, recall = index_latency(factory, moments, halves, queries, wanted)
        bound = {"target": "at most", "bound": 1.0} if factory == ours else {}
        checked = f"exhaustive search, recall {recall:.3f}"
        yield Figure(part, f"{factory} ({note})", "ms", Spread.of(times), checked, **bound)  # type: ignore[arg-type]


def exhaustive(moments: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return the ten best moments for each query, comparing with all."""
    scores = np.full((len(queries), 10), -np.inf, np.float32)
    best = np.zeros((len(queries), 10), np.int64)
    for first in range(0, len(moments), 50_000):
        block = np.concatenate([scores, queries @ moments[first : first + 50_000].T], axis=1)
        ids = np.concatenate(
            [best, np.broadcast_to(np.arange(first, first + block.shape[1] - 10), (len(queries), block.shape[1] - 10))],
            axis=1,
        )
        order = np.argpartition(-block, 9, axis=1)[:, :10]
        scores, best = np.take_along_axis(block, order, 1), np.take_along_axis(ids, order, 1)
    return best
