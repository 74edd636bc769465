"""The lengths of the videos that an estimate is about: stated by a list, measured, or extrapolated from a sample."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from reeldex.extractors.spec import ExtractorSpec
    from reeldex.storage.schema import Span, VideoEntry

MOST_PROBED = 500
"""Of more videos, an estimate opens only so many, chosen by chance, and extrapolates."""


def extracted_seconds(span: Span | None, whole_seconds: float) -> float:
    """Return the length of what is extracted of a file of this length."""
    if span is None:
        return whole_seconds
    end = whole_seconds if span.end_seconds is None else min(whole_seconds, span.end_seconds)
    return max(0.0, end - span.start_seconds)


def sample_of(entries: Sequence[VideoEntry]) -> list[VideoEntry]:
    """Return the videos to open, in their order: all, or the same few of many each time."""
    if len(entries) <= MOST_PROBED:
        return list(entries)
    chosen = random.Random(0).sample(range(len(entries)), MOST_PROBED)  # noqa: S311 - a choice of videos
    return [entries[at] for at in sorted(chosen)]


@dataclass(frozen=True)
class Lengths:
    """The length of each video in seconds, (videos,) float64, and how many of them a list states."""

    seconds: npt.NDArray[np.float64]
    stated: int

    @classmethod
    def of(
        cls, entries: Sequence[VideoEntry], listed_seconds: Mapping[str, float], measured: Mapping[str, float]
    ) -> Lengths:
        """Return the lengths of videos: as a list states them, else as `measured`, both by path; else their mean.

        Without any measured one, lengths that are not stated count as 0.
        """
        mean = sum(measured.values()) / len(measured) if measured else 0.0
        stated, seconds = 0, []
        for entry in entries:
            whole = listed_seconds.get(entry.path)
            stated += whole is not None
            seconds.append(extracted_seconds(entry.span, measured.get(entry.path, mean) if whole is None else whole))
        return cls(np.array(seconds, np.float64), stated)

    @property
    def total(self) -> float:
        """The sum of all lengths."""
        return float(self.seconds.sum())

    def rows(self, spec: ExtractorSpec) -> int:
        """Return the number of rows that an extractor makes of all videos."""
        return int((-(-frames_of(self.seconds, spec) // spec.frames_per_clip)).sum())


def frames_of(seconds: npt.NDArray[np.float64] | float, spec: ExtractorSpec) -> npt.NDArray[np.int64]:
    """Return the frames that an extractor takes of videos of these lengths: at least one of each."""
    frames: npt.NDArray[np.int64] = np.maximum(1, np.rint(np.asarray(seconds) * spec.frames_per_second)).astype(
        np.int64
    )
    return frames
