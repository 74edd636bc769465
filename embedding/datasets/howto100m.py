"""HowTo100M: narrated videos; training samples are captions with their windows of the video."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np

from reeldex.embedding.block_pooling import pool_spans
from reeldex.embedding.captions import CaptionFile, VideoCaptions, grow_window, load_captions
from reeldex.embedding.datasets.locations import open_features, required
from reeldex.embedding.datasets.options import Howto100mOptions
from reeldex.embedding.datasets.records import RetrievalSample, UnusableVideos, draw_generator, exclude_unusable
from reeldex.embedding.datasets.tables import Row, read_table
from reeldex.embedding.errors import DatasetError
from reeldex.embedding.features import FeatureSource
from reeldex.storage.schema import JSON

log = logging.getLogger(__name__)

NAME = "howto100m"


@dataclass(frozen=True, eq=False)
class Howto100mTrainingSet:
    """Videos with captions; a sample is `pairs_per_sample` of a video's captions, drawn with replacement."""

    video_ids: tuple[str, ...]
    source: FeatureSource
    captions: CaptionFile
    min_seconds: float
    min_words: int
    pairs_per_sample: int
    unusable: UnusableVideos
    name: str = NAME
    _told: set[str] = field(default_factory=set, init=False, repr=False)

    @property
    def video_dim(self) -> int:
        """Vector dimension."""
        return sum(self.source.stream_dims)

    def __len__(self) -> int:
        return len(self.video_ids)

    def fingerprints(self) -> dict[str, JSON]:
        """Return what defines the features of each stream, for a checkpoint."""
        return self.source.fingerprints()

    def sample(self, seed: int, epoch: int, index: int) -> RetrievalSample:
        """Return one sample; reads only the rows of its windows. Raises FeaturesError.

        A window beyond the video's end has zeros as features, as published; this is logged once per video.
        """
        captions = self.captions.captions(self.video_ids[index])
        drawn = draw_generator(seed, epoch, index).integers(len(captions), size=self.pairs_per_sample)
        return self._sample(self.video_ids[index], captions, drawn.tolist())

    def windows(self, index: int, chosen: list[int]) -> RetrievalSample:
        """Return the windows of these captions of a video, by number; raises FeaturesError."""
        return self._sample(self.video_ids[index], self.captions.captions(self.video_ids[index]), chosen)

    def _sample(self, video_id: str, captions: VideoCaptions, chosen: list[int]) -> RetrievalSample:
        windows = {caption: grow_window(captions, caption, self.min_seconds, self.min_words) for caption in set(chosen)}
        grown = [windows[caption] for caption in chosen]
        spans = [(window.start_seconds, window.end_seconds) for window in grown]
        video = pool_spans(self.source, video_id, spans)
        beyond = len(video) - int(np.count_nonzero(video.any(axis=1)))
        if beyond and video_id not in self._told:
            self._told.add(video_id)
            log.warning("%d captions drawn from the video %r are beyond the end of its features", beyond, video_id)
        return RetrievalSample(
            clip_ids=tuple(f"{video_id}@{start:g}-{end:g}" for start, end in spans),
            video=video,
            captions=tuple(" ".join(window.words) for window in grown),
        )


def open_training(options: Howto100mOptions) -> Howto100mTrainingSet:
    """Open the training set: each video with `n_pair` of its captions, drawn again each epoch."""
    purpose = "Training on HowTo100M"
    rows = read_table(required(options.csv, "csv", purpose), ["video_id"], ["path"])
    if options.features is None:
        raise DatasetError(f"{purpose} needs features: a store, or folders of .npy files.")
    captions = load_captions(required(options.captions, "captions", purpose))
    source = open_features(options.features, _paths(rows))

    def problem(video_id: str) -> str | None:
        return source.problem(video_id) or captions.problem(video_id)

    unusable = exclude_unusable(NAME, (row.text("video_id") for row in rows), problem, options.max_missing_share)
    return Howto100mTrainingSet(
        video_ids=tuple(row.text("video_id") for row in rows if row.text("video_id") not in unusable.reasons),
        source=source,
        captions=captions,
        min_seconds=options.min_seconds,
        min_words=options.min_words,
        pairs_per_sample=options.n_pair,
        unusable=unusable,
    )


def _paths(rows: list[Row]) -> dict[str, str] | None:
    if not rows or "path" not in rows[0].values:
        return None
    return {row.text("video_id"): row.text("path") for row in rows}
