"""A small real library: a store of random features with video files beside it, a checkpoint, word vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from reeldex.embedding.block_pooling import pool_spans
from reeldex.embedding.captions import VideoCaptions
from reeldex.embedding.features import StoreFeatures
from reeldex.embedding.model import ModelSpec, TextVideoEmbedding
from reeldex.embedding.training.checkpoint import Checkpoint, Origin, load_checkpoint, save_checkpoint
from reeldex.embedding.words.cache import write_cache
from reeldex.embedding.words.vectors import WordVectors
from reeldex.search.build import build_index
from reeldex.search.index import SearchIndex
from reeldex.search.moments import Window, caption_windows, sliding_windows
from reeldex.search.options import IndexOptions
from reeldex.search.report import BuildReport
from reeldex.search.request import IndexRequest
from reeldex.search.store_videos import captions_of
from reeldex.storage.growth import plan_growth
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoEntry, VideoOutcome
from reeldex.storage.store import FeatureStore

WIDTHS = (10, 6)
SPEC = ModelSpec(video_dim=sum(WIDTHS), embed_dim=24, word_dim=5, sentence_dim=8, max_words=6)
SPACES = (FeatureSpace("resnet152.test", {"weights": "aa"}), FeatureSpace("resnext101_3d.test", {"weights": "bb"}))
SECONDS_PER_ROW = (1.0, 16 / 24)
VOCABULARY = ("chop", "the", "onion", "boil", "water", "slice", "bread", "stir", "soup", "pan", "heat", "salt")
OPTIONS = IndexOptions(recall_sample=20, batch_size=7, device="cpu")
IVF = OPTIONS.replaced(factory="IVF8,SQ8", pca_dim=16, rerank_candidates=40, nprobe=8)

Floats = npt.NDArray[np.float32]


def feature_rows(seed: str, seconds: float, stream: int, source: str) -> FeatureRows:
    generator = np.random.default_rng([stream, *seed.encode()])
    count = max(1, int(np.ceil(seconds / SECONDS_PER_ROW[stream])))
    rows = np.maximum(generator.normal(size=(count, WIDTHS[stream])), 0).astype(np.float16)
    return FeatureRows(rows, 0.0, SECONDS_PER_ROW[stream], seconds, truncated=False, source=source)


@dataclass(frozen=True)
class Library:
    """A folder with everything an index is made from."""

    folder: Path

    @property
    def store(self) -> FeatureStore:
        return FeatureStore(self.folder / "store", create=True)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "model.pth"

    @property
    def words(self) -> WordVectors:
        return WordVectors(self.folder / "random.words")

    def add(
        self,
        videos: Mapping[str, float],
        version: int = 0,
        failing: Sequence[str] = (),
        *,
        still: bool = False,
        start_seconds: float = 0.0,
    ) -> None:
        """Put videos of so many seconds into new shards, as files and features; another version is another content.

        In `still` ones every row is the same. Clips begin at `start_seconds` of their files.
        """
        found = []
        for video_id in videos:
            path = self.folder / "videos" / video_id
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{video_id} {version}")
            found.append(VideoEntry(video_id, str(path), path.stat().st_size + version, path.stat().st_mtime_ns))
        store = self.store
        growth = plan_growth(
            store.manifests(), found, videos_per_shard=4, spaces=[space.name for space in SPACES], exists=lambda _: True
        )
        with store.lock():
            store.add_shards(growth.new_shards)
            for manifest in growth.new_shards:
                for position, entry in enumerate(manifest.videos):
                    seconds, seed = videos[entry.video_id], f"{entry.video_id} {version}"
                    if entry.video_id in failing:
                        outcome = VideoOutcome(
                            entry.video_id, entry.path, "failed", "decode_error", "broken", attempts=1
                        )
                        store.staging(manifest.shard).put(position, outcome, {})
                        continue
                    outcome = VideoOutcome(
                        entry.video_id, entry.path, "ok", None, "", attempts=1, duration_seconds=seconds
                    )
                    rows = {
                        space: replace(feature_rows(seed, seconds, at, entry.path), start_seconds=start_seconds)
                        for at, space in enumerate(SPACES)
                    }
                    for each in rows.values() if still else ():
                        each.rows[:] = 0.5
                    store.staging(manifest.shard).put(position, outcome, rows)
                store.publish_shard(manifest.shard, SPACES, provenance={}, seconds_of_work=1.0)
        store.close()

    def request(self, out: str = "index", **changes: Any) -> IndexRequest:  # noqa: ANN401 - any of a request's fields
        fields: dict[str, Any] = {
            "store": self.folder / "store",
            "checkpoint": self.checkpoint,
            "words": self.words,
            "out": self.folder / out,
            "options": OPTIONS,
        }
        return IndexRequest(**{**fields, **changes})

    def build(self, out: str = "index", **changes: Any) -> BuildReport:  # noqa: ANN401 - as `request`
        return build_index(self.request(out, **changes))

    def brute_force(
        self, options: IndexOptions = OPTIONS, captions: Mapping[str, VideoCaptions] | None = None
    ) -> list[tuple[str, Window, Floats]]:
        """Every moment of the store with its embedding, one at a time: the slow and obvious twin of an index."""
        model = load_checkpoint(self.checkpoint).model()
        source = StoreFeatures(self.store)
        found = []
        for video_id in self.store.ids(SPACES[0].name):
            outcome = self.store.outcome(video_id)
            assert outcome is not None
            if outcome.status != "ok":
                continue
            assert outcome.duration_seconds is not None
            said = captions_of(captions, video_id)
            windows = caption_windows(said, options.min_caption_seconds, outcome.duration_seconds) if said else ()
            cut = sliding_windows(outcome.duration_seconds, options.window_seconds, options.stride_seconds)
            for window in windows or cut:
                pooled = pool_spans(source, video_id, [(window.start_seconds, window.end_seconds)])
                with torch.inference_mode():
                    embedded = model.embed_videos(torch.from_numpy(pooled)).numpy()[0]
                found.append((video_id, window, embedded.astype(np.float16).astype(np.float32)))
        return found

    def sentence(self, text: str) -> Floats:
        model = load_checkpoint(self.checkpoint).model()
        vectors = self.words.sentence_vectors([text], SPEC.max_words)
        with torch.inference_mode():
            embedded: Floats = model.embed_sentences(torch.from_numpy(vectors)).numpy()[0]
        return embedded


def write_checkpoint(path: Path, seed: int = 0, **origin: Any) -> None:  # noqa: ANN401 - any of an Origin's fields
    torch.manual_seed(seed)
    model = TextVideoEmbedding(SPEC)
    save_checkpoint(path, Checkpoint(SPEC, model.state_dict(), Origin(**origin)))


def make_library(folder: Path, videos: Mapping[str, float]) -> Library:
    library = Library(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_checkpoint(library.checkpoint)
    vectors = np.random.default_rng(1).normal(size=(len(VOCABULARY), SPEC.word_dim)).astype(np.float32)
    write_cache(folder / "random.words", VOCABULARY, vectors, "random words")
    if videos:
        library.add(videos)
    return library


def eight_videos() -> dict[str, float]:
    return {f"part{at % 2}/video{at}.mp4": 5.0 + 7.3 * at for at in range(8)}


Answers = list[tuple[str, float, float, float, str]]
QUERIES = ("chop the onion", "boil water", "slice bread", "stir soup")


def answers(path: Path, **asked: Any) -> list[Answers]:  # noqa: ANN401 - any of the arguments of a search
    """What an index answers, without the ids of moments, which depend on its history."""
    with SearchIndex.open(path) as index:
        found = [index.search(query, **{"k": 25, **asked}) for query in QUERIES]
        found += [index.like(video_id, 3.0, **{"k": 25, **asked}) for video_id in sorted(index.videos())[:3]]
    return [
        [(each.video_id, each.start_seconds, each.end_seconds, each.score, each.caption) for each in one]
        for one in found
    ]


def counts(report: BuildReport) -> tuple[int, int, int, int]:
    return report.videos_added, report.videos_changed, report.videos_removed, report.videos_kept
