"""A small index with an embedding of the published size, random, as the benchmarks of queries need it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from reeldex.embedding.model import ModelSpec, TextVideoEmbedding
from reeldex.embedding.training.checkpoint import Checkpoint, save_checkpoint
from reeldex.embedding.words.cache import write_cache
from reeldex.embedding.words.vectors import WordVectors
from reeldex.search.build import build_index
from reeldex.search.options import IndexOptions
from reeldex.search.request import IndexRequest
from reeldex.storage.growth import plan_growth
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoEntry, VideoOutcome
from reeldex.storage.store import FeatureStore

SECONDS_PER_ROW = {"resnet152.synthetic": 1.0, "resnext101_3d.synthetic": 16 / 24}
_SEED = 0


def vocabulary(count: int) -> list[str]:
    """Return that many made-up words."""
    return [f"word{number}" for number in range(count)]


def write_words(path: Path, count: int, dim: int = 300) -> WordVectors:
    """Write random vectors of `vocabulary(count)` as a cache file, and open it."""
    vectors = np.random.default_rng(_SEED).standard_normal((count, dim), dtype=np.float32)
    write_cache(path, vocabulary(count), vectors, "synthetic words")
    return WordVectors(path)


def write_store(path: Path, videos: int, seconds: float, dim: int) -> FeatureStore:
    """Write a store of random features: `videos` videos of `seconds` seconds each, half of `dim` per network."""
    generator = np.random.default_rng(_SEED)
    spaces = [FeatureSpace(name, {"weights": "synthetic"}) for name in SECONDS_PER_ROW]
    found = [VideoEntry(f"video{number:05d}", f"/videos/{number:05d}.mp4", 1, 1) for number in range(videos)]
    store = FeatureStore(path, create=True)
    growth = plan_growth((), found, videos_per_shard=50, spaces=[space.name for space in spaces], exists=lambda _: True)
    with store.lock():
        store.add_shards(growth.new_shards)
        for manifest in growth.new_shards:
            for position, entry in enumerate(manifest.videos):
                rows = {}
                for space in spaces:
                    step = SECONDS_PER_ROW[space.name]
                    values = np.maximum(generator.standard_normal((int(seconds / step), dim // 2), np.float32), 0)
                    values /= np.linalg.norm(values, axis=1, keepdims=True)
                    rows[space] = FeatureRows(
                        values.astype(np.float16), 0.0, step, seconds, truncated=False, source=entry.path
                    )
                outcome = VideoOutcome(entry.video_id, entry.path, "ok", None, "", attempts=1, duration_seconds=seconds)
                store.staging(manifest.shard).put(position, outcome, rows)
            store.publish_shard(manifest.shard, spaces, provenance={}, seconds_of_work=1.0)
    return store


def write_index(folder: Path, spec: ModelSpec, *, videos: int = 50, words: int = 100_000) -> Path:
    """Build an index of random videos of a minute in `folder`, with a random embedding; return its path."""
    torch.manual_seed(_SEED)
    checkpoint = folder / "embedding.pth"
    save_checkpoint(checkpoint, Checkpoint(spec, TextVideoEmbedding(spec).state_dict()))
    vectors = write_words(folder / "synthetic.words", words, spec.word_dim)
    write_store(folder / "store", videos, 60.0, spec.video_dim).close()
    options = IndexOptions(device="cpu", recall_sample=20, missing_files="keep")
    build_index(IndexRequest(folder / "store", checkpoint, vectors, folder / "index", options=options))
    return folder / "index"
