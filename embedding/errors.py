"""Errors of the embedding; every message says what happened, to what, why, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from reeldex.errors import UnreadableError, UserError


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


class RowError(DatasetError):
    """One row of annotations cannot be used: no text, no time. The others can; `why` is the reason alone."""

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"{place}: {why}.")
        self.place, self.why = place, why

    def __reduce__(self) -> tuple[type[RowError], tuple[str, str]]:
        return RowError, (self.place, self.why)


class UnsafePickleError(DatasetError):
    """A pickle needs more than arrays, containers, strings and numbers; nothing of it was executed."""


class FeaturesError(EmbeddingError):
    """Features of videos cannot be found or read, or do not fit together."""


class FeaturesUnreadableError(EmbeddingError, UnreadableError):
    """The system does not allow reading features: permissions, limits, a disk. They are not known to be unusable.

    Not a FeaturesError: the video is not left out.
    """


class MissingVideosError(FeaturesError):
    """More videos of a data set than the stated share cannot be used."""


_LONGEST_QUOTE = 100


def require_file(path: Path) -> None:
    """Raise DatasetError unless `path` is a file."""
    if path.is_dir():
        raise DatasetError(f"{path} is a folder. Name a file.")
    if not path.is_file():
        raise DatasetError(f"There is no file {path}. Correct the path, or put the file there.")


def quoted(value: object) -> str:
    """Return what a file holds in quotes for a message, shortened: a message never repeats a whole file."""
    text = repr(value[: _LONGEST_QUOTE + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}..."


def listed(values: Iterable[str]) -> str:
    """Return several texts of a file for a message, separated by commas and shortened like `quoted`."""
    shown = ", ".join(text[: _LONGEST_QUOTE + 1] for text in islice(values, _LONGEST_QUOTE))
    return shown if len(shown) <= _LONGEST_QUOTE else f"{shown[:_LONGEST_QUOTE]}..."
