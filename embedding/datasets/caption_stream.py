"""The captions of a training set as a stream, for training word vectors."""

from __future__ import annotations

from collections.abc import Iterator

from reeldex.embedding.datasets.howto100m import Howto100mTrainingSet
from reeldex.embedding.datasets.records import ClipTrainingSet, TrainingSet


class CaptionStream:
    """The captions of a training set, in its order and as often as they are asked for.

    Raises TypeError for a kind of training set without known captions.
    """

    def __init__(self, samples: TrainingSet) -> None:
        if not isinstance(samples, ClipTrainingSet | Howto100mTrainingSet):
            raise TypeError(f"The captions of a {type(samples).__name__} are not known here.")
        self._samples = samples

    def __iter__(self) -> Iterator[str]:
        if isinstance(self._samples, Howto100mTrainingSet):
            for video_id in self._samples.video_ids:
                yield from self._samples.texts(video_id)
        else:
            for group in self._samples.groups:
                for clip in group:
                    yield from clip.captions
