"""Errors of the embedding; every message says what happened, to what, why, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from reeldex.errors import UserError


class EmbeddingError(UserError):
    """Base class of all errors of this package."""


class WordVectorsError(EmbeddingError):
    """A file of word vectors is absent, damaged or of an unknown format, or vectors cannot be trained."""


class CheckpointError(EmbeddingError):
    """A checkpoint is absent, damaged, or does not contain a text-video embedding."""


class CheckpointMismatchError(CheckpointError):
    """A checkpoint belongs to other word vectors, other feature spaces or another model than those given."""


class ScoresError(EmbeddingError, ValueError):
    """Scores cannot be ranked: they contain NaN, or their shape does not match."""


class TrainingError(EmbeddingError):
    """Training cannot begin or continue."""


class LossNotFiniteError(TrainingError):
    """The loss of a step is NaN or infinite; `sample_ids` are the samples of its batch."""

    def __init__(self, message: str, sample_ids: Sequence[str]) -> None:
        super().__init__(message)
        self.sample_ids = tuple(sample_ids)

    def __reduce__(self) -> tuple[type[LossNotFiniteError], tuple[str, tuple[str, ...]]]:
        return LossNotFiniteError, (str(self), self.sample_ids)


class DatasetError(EmbeddingError):
    """A file of a data set is not what its reader expects; the message names file, column and row."""


class UnsafePickleError(DatasetError):
    """A pickle needs more than arrays, containers, strings and numbers; nothing of it was executed."""


class FeaturesError(EmbeddingError):
    """Features of videos cannot be found or read, or do not fit together."""


class FeaturesUnreadableError(EmbeddingError):
    """The system does not allow reading features: permissions, limits, a disk. They are not known to be unusable.

    Not a FeaturesError: the video is not left out.
    """


class MissingVideosError(FeaturesError):
    """More videos of a data set than the stated share cannot be used."""
