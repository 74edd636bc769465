"""HowTo100M: narrated videos; training samples are captions with their windows of the video."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from reeldex.embedding.block_pooling import pool_spans
from reeldex.embedding.caption_cache import CaptionFile
from reeldex.embedding.caption_files import open_captions
from reeldex.embedding.captions import CaptionWindow, VideoCaptions, grow_window
from reeldex.embedding.datasets.howto100m_options import Howto100mOptions
from reeldex.embedding.datasets.locations import open_features, require_folders, required, required_file
from reeldex.embedding.datasets.readers import SpanReader, span_damage
from reeldex.embedding.datasets.records import (
    Clip,
    ClipReader,
    RetrievalSample,
    UnusableVideos,
    draw_generator,
    exclude_unusable,
)
from reeldex.embedding.datasets.tables import Row, stream_table
from reeldex.embedding.errors import DatasetError
from reeldex.embedding.features import STREAMS, FeatureSource
from reeldex.embedding.stop_words import content_words, load_stop_words
from reeldex.embedding.words.vectors import tokenise
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
    stop_words: frozenset[str] = frozenset()
    skip_damaged: bool = False
    _told: set[str] = field(default_factory=set, init=False, repr=False)

    @property
    def video_dim(self) -> int:
        """Vector dimension."""
        return sum(self.source.stream_dims)

    @property
    def videos(self) -> tuple[str, ...]:
        """The video of each sample."""
        return self.video_ids

    def __len__(self) -> int:
        return len(self.video_ids)

    def fingerprints(self) -> dict[str, JSON]:
        """Return what defines the features of each stream, for a checkpoint."""
        return self.source.fingerprints()

    def sample(self, seed: int, epoch: int, index: int) -> RetrievalSample:
        """Return one sample; reads only the rows of its windows. Raises FeaturesError.

        A window beyond the video's end has zeros as features, as published; this is logged once per video. With
        `skip_damaged`, captions whose windows have only damaged rows are not drawn.
        """
        captions = self.captions.captions(self.video_ids[index])
        usable = self._usable(self.video_ids[index], captions)
        drawn = draw_generator(seed, epoch, index).integers(len(usable), size=self.pairs_per_sample)
        return self._sample(self.video_ids[index], captions, [usable[at] for at in drawn.tolist()])

    def damage(self, video_id: str) -> str | None:
        """Return why no caption of a video can be drawn, None when one can; raises DatasetError, FeaturesError."""
        if self._usable(video_id, self.captions.captions(video_id)):
            return None
        return "all rows in the windows of its captions may show damaged pictures"

    def windows(self, index: int, chosen: list[int]) -> RetrievalSample:
        """Return the windows of these captions of a video, by number; raises FeaturesError."""
        return self._sample(self.video_ids[index], self.captions.captions(self.video_ids[index]), chosen)

    def texts(self, video_id: str) -> Iterator[str]:
        """Return the captions of a video, without stop words; raises DatasetError."""
        for text in self.captions.captions(video_id).texts:
            yield " ".join(content_words(text, self.stop_words)) if self.stop_words else text

    def subset(self, indices: Sequence[int]) -> Howto100mTrainingSet:
        """Return the training set of some of the videos."""
        return replace(self, video_ids=tuple(self.video_ids[at] for at in indices))

    def clips(self, indices: Sequence[int]) -> tuple[list[Clip], ClipReader]:
        """Return one window of each of some videos, to evaluate on: that of the caption in the middle."""
        clips, spans = [], {}
        for at in indices:
            captions = self.captions.captions(self.video_ids[at])
            usable = self._usable(self.video_ids[at], captions)
            window = self._window(captions, usable[len(usable) // 2])
            spans[self.video_ids[at]] = (window.start_seconds, window.end_seconds)
            clips.append(Clip(self.video_ids[at], self.video_ids[at], (" ".join(window.words),)))
        return clips, SpanReader(self.source, spans)

    def _usable(self, video_id: str, captions: VideoCaptions) -> Sequence[int]:
        """Return the captions, by number, whose windows do not have only damaged rows."""
        every = range(len(captions))
        if not self.skip_damaged:
            return every
        videos = [self.source.video(stream, video_id) for stream in range(len(STREAMS))]
        if not any(video.damaged for video in videos):
            return every
        streams = [(video.timing, video.damaged) for video in videos]
        windows = [self._window(captions, caption) for caption in every]
        spans = [(window.start_seconds, window.end_seconds) for window in windows]
        return [caption for caption in every if span_damage(streams, spans[caption]) is None]

    def _window(self, captions: VideoCaptions, caption: int) -> CaptionWindow:
        words_of = partial(content_words, stop_words=self.stop_words) if self.stop_words else tokenise
        return grow_window(captions, caption, self.min_seconds, self.min_words, words_of)

    def _sample(self, video_id: str, captions: VideoCaptions, chosen: list[int]) -> RetrievalSample:
        windows = {caption: self._window(captions, caption) for caption in set(chosen)}
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
    videos = read_videos(required(options.csv, "csv", purpose), options.max_rank)
    if options.features is None:
        raise DatasetError(f"{purpose} needs features: a store, or folders of .npy files.")
    captions = open_captions(required(options.captions, "captions", purpose), options.captions_cache)
    return training_set(options, videos, captions, open_features(options.features, videos.paths))


def annotated_videos(options: Howto100mOptions) -> Iterator[str]:
    """Yield the video of each annotated training sample; raises DatasetError if a file is missing."""
    purpose = "Training on HowTo100M"
    table = required_file(options.csv, "csv", purpose)
    required_file(options.captions, "captions", purpose)
    if options.features is None:
        raise DatasetError(f"{purpose} needs features: a store, or folders of .npy files.")
    require_folders(options.features)
    yield from (row.text("video_id") for row in _listed(table, options.max_rank))


@dataclass(frozen=True)
class ListedVideos:
    """The videos of the published table, and the .npy file of each where it names one."""

    ids: list[str]
    paths: dict[str, str] | None


def training_set(
    options: Howto100mOptions, videos: ListedVideos, captions: CaptionFile, source: FeatureSource
) -> Howto100mTrainingSet:
    """Return the training set of the videos that have features and captions; raises MissingVideosError."""
    listed = Howto100mTrainingSet(
        video_ids=tuple(videos.ids),
        source=source,
        captions=captions,
        min_seconds=options.min_seconds,
        min_words=options.min_words,
        pairs_per_sample=options.n_pair,
        unusable=UnusableVideos(),
        stop_words=load_stop_words(options.stop_words),
        skip_damaged=options.features is not None and options.features.skip_damaged,
    )

    def problem(video_id: str) -> str | None:
        known = source.problem(video_id) or captions.problem(video_id)
        return known or (listed.damage(video_id) if listed.skip_damaged else None)

    unusable = exclude_unusable(NAME, videos.ids, problem, options.max_missing_share)
    usable = tuple(video_id for video_id in videos.ids if video_id not in unusable.reasons)
    return replace(listed, video_ids=usable, unusable=unusable)


def read_videos(path: Path, max_rank: int | None) -> ListedVideos:
    """Read the table of videos row by row: the published one has 1.2 million."""
    ids: list[str] = []
    paths: dict[str, str] = {}
    for row in _listed(path, max_rank):
        ids.append(row.text("video_id"))
        if "path" in row.values:
            paths[ids[-1]] = row.text("path")
    return ListedVideos(ids, paths or None)


def _listed(path: Path, max_rank: int | None) -> Iterator[Row]:
    """Yield the rows of the videos of at most a rank; raises DatasetError if all have a higher one."""
    total, kept = 0, 0
    for row in stream_table(path, ["video_id", *(["rank"] if max_rank is not None else [])], ["path"]):
        total += 1
        if max_rank is None or row.integer("rank") <= max_rank:
            kept += 1
            yield row
    if total and not kept:
        raise DatasetError(f"{path}: no video has a rank of at most {max_rank}. Raise max_rank.")
