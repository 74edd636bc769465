"""The captions of a training set as a stream, for training word vectors."""

from __future__ import annotations

from collections.abc import Iterator

from reeldex.embedding.datasets.howto100m import Howto100mTrainingSet
from reeldex.embedding.datasets.records import ClipTrainingSet, TrainingSet


class CaptionStream:
    """The captions of a training set, in its order and as often as they are asked for.

    With `most_samples`, those of so many samples at most, evenly spread over the set. Raises TypeError for a kind of
    training set without known captions.
    """

    def __init__(self, samples: TrainingSet, most_samples: int | None = None) -> None:
        if not isinstance(samples, ClipTrainingSet | Howto100mTrainingSet):
            raise TypeError(f"The captions of a {type(samples).__name__} are not known here.")
        self._samples = samples
        count = len(samples)
        shown = count if most_samples is None else min(count, most_samples)
        self._at = [count * part // shown for part in range(shown)]

    def __iter__(self) -> Iterator[str]:
        if isinstance(self._samples, Howto100mTrainingSet):
            for at in self._at:
                yield from self._samples.texts(self._samples.video_ids[at])
        else:
            for at in self._at:
                for clip in self._samples.groups[at]:
                    yield from clip.captions
