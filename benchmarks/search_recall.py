"""Recall and latency of an index of many moments, on synthetic embeddings.

python -m benchmarks.search_recall --moments 1000000 --dims 256 6144

The data are simulated, not real videos. An embedding is a signal in a subspace of 128 dimensions (the intrinsic
dimension) plus noise in all dimensions of the space, scaled to length 1:

- 20,000 topics, Gaussian, dimension i of the signal having the scale (i + 1)^-0.5; a moment is its topic plus
  Gaussian noise of 0.6 of that scale, so that topics overlap;
- a part that all moments share, as those of real networks do: half of the signal's length;
- noise of 0.3 of the signal's length, spread evenly over all dimensions.

A query is not a stored moment: it is a new point near a random topic, with further noise of the same scale within the
subspace (0.6), with noise of half its length over all dimensions, and a shift of half its length that all queries but
no moments have, as sentences and videos differ in real embeddings.

Embeddings are stored as in an index, float16 in all dimensions. Above 256 dimensions the ANN index contains a learned
projection to 256; candidates are re-ranked by full embeddings, and recall is relative to an exhaustive search over full
embeddings. nprobe is chosen on other queries than those that are measured. Latency is measured for one query at a time,
from its embedding to ten ranked moments; the latency of the sentence tower, of the published size, is measured
separately. The files are in the page cache, as after a build.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from reeldex.embedding.model import ModelSpec, TextVideoEmbedding
from reeldex.search.ann_index import build_ann_index, choose_factory
from reeldex.search.moment_table import Floats, MomentTable
from reeldex.search.moments import Window
from reeldex.search.options import IndexOptions
from reeldex.search.ranking import Ranker
from reeldex.search.recall import DEPTH, RecallSample, exact_thresholds, measure, settle_nprobe
from reeldex.search.segments import open_segment, write_segment
from reeldex.search.video_records import VideoRecord, VideoRecords

INTRINSIC_DIM = 128
TOPICS = 20_000
SPREAD = 0.6
MOMENTS_A_VIDEO = 100
ROWS_AT_A_TIME = 10_000


class World:
    """A deterministic generator of moments and queries with `dim` dimensions."""

    def __init__(self, dim: int) -> None:
        generator = np.random.default_rng(1)
        self.dim = dim
        self.basis = np.linalg.qr(generator.standard_normal((dim, INTRINSIC_DIM), dtype=np.float32))[0].T
        self.scales = (np.arange(INTRINSIC_DIM, dtype=np.float32) + 1) ** -0.5
        self.length = float(np.sqrt((self.scales**2).sum() * (1 + SPREAD**2)))
        self.topics = generator.standard_normal((TOPICS, INTRINSIC_DIM), dtype=np.float32) * self.scales
        shared = generator.standard_normal((2, dim), dtype=np.float32)
        self.shared, self.shift = 0.5 * self.length * shared / np.linalg.norm(shared, axis=1, keepdims=True)

    def moments(self, generator: np.random.Generator, count: int) -> Floats:
        """Return (count, dim) embeddings of moments."""
        return self._placed(generator, self._signal(generator, count, SPREAD), 0.3, self.shared)

    def queries(self, generator: np.random.Generator, count: int) -> Floats:
        """Return (count, dim) embeddings of queries."""
        signal = self._signal(generator, count, SPREAD * 2**0.5)
        return self._placed(generator, signal, 0.5, self.shared + self.shift)

    def _signal(self, generator: np.random.Generator, count: int, spread: float) -> Floats:
        topics = self.topics[generator.integers(TOPICS, size=count)]
        noise = generator.standard_normal((count, INTRINSIC_DIM), dtype=np.float32)
        return np.asarray(topics + noise * self.scales * np.float32(spread), dtype=np.float32)

    def _placed(self, generator: np.random.Generator, signal: Floats, noise: float, offset: Floats) -> Floats:
        placed: Floats = generator.standard_normal((len(signal), self.dim), dtype=np.float32)
        placed *= np.float32(noise * self.length / np.sqrt(self.dim))
        placed += signal @ self.basis + offset
        placed /= np.linalg.norm(placed, axis=1, keepdims=True)
        return placed


def write_moments(folder: Path, world: World, count: int) -> MomentTable:
    """Write a segment of `count` moments in videos of 100 each."""
    generator = np.random.default_rng(2)
    with write_segment(folder, 1, world.dim) as writer:
        for first in range(0, count, ROWS_AT_A_TIME):
            rows = min(ROWS_AT_A_TIME, count - first)
            starts = [4.0 * ((first + at) % MOMENTS_A_VIDEO) for at in range(rows)]
            writer.add_windows([Window(start, start + 8) for start in starts])
            writer.add_embeddings(world.moments(generator, rows))
    records = VideoRecords(
        VideoRecord(f"video{at:07d}", f"/{at}.mp4", 404.0, "", 0, 1, at, at, min(MOMENTS_A_VIDEO, count - at))
        for at in range(0, count, MOMENTS_A_VIDEO)
    )
    return MomentTable(records, {1: open_segment(folder, 1, count, world.dim)}, world.dim)


def own_memory_mib() -> float:
    """Return the private memory of this process in MiB, without mapped files, which the system can evict."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return float("nan")


def run(folder: Path, dim: int, arguments: argparse.Namespace) -> dict[str, object]:
    """Build an index of synthetic moments and measure it."""
    world = World(dim)
    clock = [time.perf_counter()]
    table = write_moments(folder, world, arguments.moments)
    clock.append(time.perf_counter())
    options = IndexOptions(factory=arguments.factory, exact_below=0, rerank_candidates=arguments.candidates)
    ann_index = build_ann_index(table, options, choose_factory(options, len(table), dim))
    names = ann_index.save(folder, 1)
    clock.append(time.perf_counter())
    built_memory = own_memory_mib()
    generator = np.random.default_rng(3)
    calibration = RecallSample(world.queries(generator, arguments.queries), "synthetic queries")
    nprobe, settled = settle_nprobe(table, ann_index, options.rerank_candidates, arguments.nprobe, calibration)
    clock.append(time.perf_counter())
    queries = world.queries(generator, arguments.queries)
    ranker = Ranker(table, ann_index, options.rerank_candidates, nprobe)
    recall = measure(ranker, queries, exact_thresholds(table, queries))
    latencies = []
    for query in queries:
        started = time.perf_counter()
        ranker.first(query, DEPTH)
        latencies.append(1000 * (time.perf_counter() - started))
    return {
        "moments": len(table),
        "dim": dim,
        "searched_dim": ann_index.dim,
        "intrinsic_dim": INTRINSIC_DIM,
        "factory": ann_index.factory,
        "nprobe": nprobe,
        "candidates": options.rerank_candidates,
        "queries": len(queries),
        "recall_at_10": round(recall, 4),
        "recall_at_10_settling": settled.at_10,
        "median_ms": round(float(np.median(latencies)), 2),
        "mean_ms": round(float(np.mean(latencies)), 2),
        "p95_ms": round(float(np.percentile(latencies, 95)), 2),
        "write_seconds": round(clock[1] - clock[0], 1),
        "build_seconds": round(clock[2] - clock[1], 1),
        "recall_seconds": round(clock[3] - clock[2], 1),
        "embedding_bytes": 2 * len(table) * dim,
        "structure_bytes": sum((folder / name).stat().st_size for name in names),
        "memory_after_build_mib": round(built_memory, 1),
    }


def towers() -> dict[str, object]:
    """Time the towers of a model of the published size, with random weights."""
    spec = ModelSpec()
    model = TextVideoEmbedding(spec).eval()
    sentences, videos = torch.randn(1, spec.max_words, spec.word_dim), torch.randn(256, spec.video_dim)
    times: dict[str, list[float]] = {"sentence": [], "batch": []}
    with torch.inference_mode():
        for _ in range(10):
            started = time.perf_counter()
            model.embed_sentences(sentences)
            middle = time.perf_counter()
            model.embed_videos(videos)
            times["sentence"].append(middle - started)
            times["batch"].append(time.perf_counter() - middle)
    return {
        "sentence_tower_median_ms": round(1000 * float(np.median(times["sentence"])), 1),
        "video_tower_moments_a_second": round(len(videos) / float(np.median(times["batch"]))),
    }


def main() -> None:
    """Measure and print a line of JSON for each number of dimensions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=60_000)
    parser.add_argument("--dims", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--candidates", type=int, default=IndexOptions().rerank_candidates)
    parser.add_argument(
        "--nprobe", type=int, default=0, help="0: the smallest that reaches the target on other queries"
    )
    parser.add_argument("--factory", default="auto")
    parser.add_argument("--folder", type=Path, help="folder with enough space; default: a temporary folder")
    arguments = parser.parse_args()
    print(json.dumps({"cores": os.cpu_count(), **towers()}), flush=True)
    for dim in arguments.dims:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            print(json.dumps(run(Path(folder), dim, arguments)), flush=True)


if __name__ == "__main__":
    main()
