"""TextVideoModel: embeds sentences and videos into one space, where the inner product is the score."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from reeldex.devices import resolve_device
from reeldex.embedding.block_pooling import pool_spans, pool_whole
from reeldex.embedding.errors import quoted
from reeldex.embedding.features import STREAMS, StoreFeatures, VideoRows
from reeldex.embedding.training.checkpoint import (
    load_checkpoint,
    require_features,
    require_known_word_vectors,
    require_word_vectors,
)
from reeldex.embedding.words.vectors import WordVectors, tokenise
from reeldex.errors import UsageError
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.learning.inputs import words_of_checkpoint
from reeldex.flows.learning.published_files import checkpoint_path
from reeldex.search.tower import embed_sentences
from reeldex.storage.schema import JSON, FeatureRows
from reeldex.storage.shard import RowTiming

if TYPE_CHECKING:
    from reeldex.embedding.model import TextVideoEmbedding
    from reeldex.embedding.pooling import Floats
    from reeldex.embedding.training.checkpoint import Checkpoint
    from reeldex.storage.store import FeatureStore

Rows = FeatureRows | npt.NDArray[np.floating]
Span = tuple[float, float]


class TextVideoModel:
    """A text-video embedding with its word vectors: embeds sentences and videos to vectors of norm 1.

    The score of a sentence and a video is the inner product of their embeddings, in -1..1. `embed_dim` is their
    dimension, `words` the word vectors.
    """

    def __init__(self, checkpoint: Checkpoint, words: WordVectors, *, device: str = "auto") -> None:
        require_word_vectors(checkpoint, words.fingerprint, words.dim)
        self.words = words
        self.embed_dim = checkpoint.spec.embed_dim
        self._device = resolve_device(device)
        self._model: TextVideoEmbedding = checkpoint.model().to(self._device)
        # The model holds the weights, and the training state is not needed.
        self._checkpoint = replace(checkpoint, weights={}, training=None)

    @classmethod
    def load(
        cls,
        checkpoint: str | os.PathLike[str] = "published",
        *,
        word_vectors: str | os.PathLike[str] | WordVectors | None = None,
        word_vectors_unchecked: bool = False,
        device: str = "auto",
    ) -> TextVideoModel:
        """Load a checkpoint of `reeldex train`, or with `published` the one of the HowTo100M paper, downloaded once.

        `word_vectors` is the file of word vectors that the checkpoint was trained with; None uses those beside the
        checkpoint or those that it names, and downloads the published ones for the published checkpoint. A plain
        state dict does not record its word vectors: others than GoogleNews' need `word_vectors_unchecked`. Raises
        CheckpointError, CheckpointMismatchError, WordVectorsError, WeightsError, DeviceError; UsageError when there
        are no word vectors.
        """
        given = os.fspath(checkpoint)
        path = checkpoint_path(given, None)
        loaded = load_checkpoint(path)
        if not isinstance(word_vectors, WordVectors):
            file = None if word_vectors is None else Path(word_vectors)
            config = PipelineConfig.model_validate({"words": {"file": file, "unchecked": word_vectors_unchecked}})
            word_vectors = words_of_checkpoint(given, path, loaded, config)
        else:
            require_known_word_vectors(loaded, word_vectors, unchecked=word_vectors_unchecked)
        return cls(loaded, word_vectors, device=device)

    def embed_text(self, sentences: Iterable[str]) -> npt.NDArray[np.float32]:
        """Embed sentences to (N, embed_dim) float32, each row of norm 1.

        Words without a word vector are ignored. Raises UsageError for a sentence without any known word, whose
        embedding would be meaningless, for what is not a string, and for a string instead of a list.
        """
        if isinstance(sentences, str):
            raise UsageError(f"embed_text takes a list of sentences: embed_text([{sentences[:60]!r}]).")
        given = list(sentences)
        for sentence in given:
            if not isinstance(sentence, str):
                raise UsageError(f"A sentence must be a string, not {quoted(sentence)}.")
            if not any(word in self.words for word in tokenise(sentence)):
                raise UsageError(
                    f"No word of {sentence[:100]!r} is in the vocabulary of the word vectors. Use other words; "
                    "words are case-sensitive."
                )
        if not given:
            return np.zeros((0, self.embed_dim), dtype=np.float32)
        return np.asarray(embed_sentences(self._model, self.words, given), dtype=np.float32)

    def embed_video(
        self, features_2d: Rows, features_3d: Rows, *, span_seconds: Span | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed a video, or the span (start, end) of it in seconds, to (embed_dim,) float32 of norm 1.

        The features are rows with times, as `reeldex.extract` and `FeatureStore.rows` return them, or for a whole
        video (R, D) float arrays too. Raises UsageError for a span of rows without times or beyond the end,
        FeaturesError for rows with NaN or infinity, CheckpointMismatchError for rows of another dimension.
        """
        source = _OneVideo(features_2d, features_3d)
        require_features(self._checkpoint, source.fingerprints(), sum(source.stream_dims))
        if span_seconds is None:
            pooled = pool_whole(source, source.name)[np.newaxis]
        else:
            source.require_times()
            spans = _checked([span_seconds])
            pooled = _require_rows(pool_spans(source, source.name, spans), spans)
        vector: npt.NDArray[np.float32] = self._embed(pooled)[0]
        return vector

    def embed_moments(self, store: FeatureStore, video_id: str, spans: Iterable[Span]) -> npt.NDArray[np.float32]:
        """Embed spans (start, end) in seconds of a video in a store to (len(spans), embed_dim) float32.

        Reads only the rows of the spans. Raises FeaturesError, CheckpointMismatchError when the model was trained on
        other features than the store's, UsageError for a span beyond the end of the video.
        """
        source = StoreFeatures(store)
        require_features(self._checkpoint, source.fingerprints(), sum(source.stream_dims))
        checked = _checked(spans)
        if not checked:
            return np.zeros((0, self.embed_dim), dtype=np.float32)
        return self._embed(_require_rows(pool_spans(source, video_id, checked), checked))

    def _embed(self, pooled: Floats) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            embedded = self._model.embed_videos(torch.from_numpy(pooled).to(self._device))
        vectors: npt.NDArray[np.float32] = embedded.float().cpu().numpy()
        return vectors

    def __repr__(self) -> str:
        spec = self._checkpoint.spec
        return (
            f"TextVideoModel(embed_dim={spec.embed_dim}, video_dim={spec.video_dim}, words={len(self.words)}, "
            f"device={str(self._device)!r})"
        )


def _checked(spans: Iterable[Span]) -> list[Span]:
    """Return spans as pairs of floats, from whatever sequences they are given as. Raises UsageError."""
    checked = []
    for span in spans:
        try:
            start, end = (float(each) for each in span)
        except (TypeError, ValueError) as error:
            raise UsageError(f"A span is (start, end) in seconds, not {quoted(span)}.") from error
        if not 0 <= start <= end < math.inf:
            raise UsageError(f"A span needs 0 <= start <= end, both finite; got {start:g} to {end:g} seconds.")
        checked.append((start, end))
    return checked


def _require_rows(pooled: npt.NDArray[np.float32], spans: Iterable[Span]) -> npt.NDArray[np.float32]:
    """Return pooled spans, checked that each has rows in both streams. Raises UsageError."""
    for vector, (start, end) in zip(pooled, spans, strict=True):
        if not vector.any():
            raise UsageError(f"The video has no rows from {start:g} to {end:g} s. Give a span within the video.")
    return pooled


class _OneVideo:
    """The features of one video in memory, as a FeatureSource. Raises UsageError for invalid rows."""

    name = "the given features"

    def __init__(self, features_2d: Rows, features_3d: Rows) -> None:
        self._streams = [self._opened(stream, given) for stream, given in enumerate((features_2d, features_3d))]
        self._timed = [isinstance(given, FeatureRows) for given in (features_2d, features_3d)]

    @staticmethod
    def _opened(stream: int, given: Rows) -> VideoRows:
        if isinstance(given, FeatureRows):
            timing = RowTiming(len(given.rows), given.start_seconds, given.seconds_per_row)
            return VideoRows(timing, given.rows)
        rows = np.asarray(given)
        if rows.ndim != 2 or not rows.size or rows.dtype.kind != "f":
            raise UsageError(f"The {STREAMS[stream]} features must be (R, D) floats, not {rows.dtype} {rows.shape}.")
        return VideoRows(RowTiming(len(rows), 0.0, 1.0), rows)

    def require_times(self) -> None:
        """Raise UsageError unless both streams have times."""
        if not all(self._timed):
            raise UsageError(
                "A span needs rows with times, as reeldex.extract and FeatureStore.rows return them, not plain arrays."
            )

    @property
    def stream_dims(self) -> tuple[int, int]:
        """Dimension of the rows of each stream."""
        return self._streams[0].rows.shape[1], self._streams[1].rows.shape[1]

    def problem(self, video_id: str) -> str | None:  # noqa: ARG002 - there is one video
        """Return None: the rows are in memory."""
        return None

    def video(self, stream: int, video_id: str) -> VideoRows:  # noqa: ARG002 - there is one video
        """Return one stream of the video."""
        return self._streams[stream]

    def fingerprints(self) -> dict[str, JSON]:
        """Return an empty dict: rows do not record the settings that produced them."""
        return {}
