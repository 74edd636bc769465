"""Which pictures, samples and rows of a video errors concern: pure decisions on the order of ffmpeg's messages.

A single decoding thread reports the errors of a picture before the picture itself. Later pictures refer to it up to the
next keyframe, so that all pictures from an error up to a keyframe may be damaged.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

Ranges = tuple[tuple[int, int], ...]
"""Ranges (first, stop) of pictures, samples or rows, in order, separate and not empty."""

# Pictures between an error and a keyframe that is not concerned. A decoder holds up to 16 pictures back to reorder
# them; ffmpeg's thread that reads the file is ahead of the one that decodes.
_FROM_DECODER, _FROM_OTHER = 17, 32
# Where every picture is a keyframe, none is held back.
_FROM_INTRA_DECODER = 1


class DamageTracker:
    """Follows a decoding in one thread: pictures, with whether they are keyframes, and errors between them."""

    def __init__(self) -> None:
        self.pictures = 0
        self._ranges: list[tuple[int, int]] = []
        self._first: int | None = None  # of the range that is not closed yet
        self._sound_from = 0  # a keyframe from this picture on closes it
        self._all_keyframes = True
        self._is_unplaced = False

    def unplaced(self) -> None:
        """Take an error before decoding began."""
        self._is_unplaced = True

    def error(self, *, of_decoder: bool) -> None:
        """Take an error that was reported before the next picture."""
        if self._first is None:
            self._first = self.pictures
        distance = _FROM_OTHER
        if of_decoder:
            distance = _FROM_INTRA_DECODER if self._all_keyframes and self.pictures else _FROM_DECODER
        self._sound_from = max(self._sound_from, self.pictures + distance)

    def picture(self, *, is_keyframe: bool) -> None:
        """Take the next picture."""
        self._all_keyframes = self._all_keyframes and is_keyframe
        if self._first is not None and is_keyframe and self.pictures >= self._sound_from:
            self._ranges.append((self._first, self.pictures))
            self._first = None
        self.pictures += 1

    def damaged(self) -> Ranges | None:
        """Return the ranges of pictures that may be damaged, None if unknown."""
        if self._first is not None:
            return (*self._ranges, (self._first, self.pictures + 1))
        return None if self._is_unplaced and not self._ranges else tuple(self._ranges)


def damaged_samples(damaged: Ranges | None, pictures: int, first_samples: array[int], samples: int) -> Ranges | None:
    """Return the ranges of samples that show damaged pictures, None if unknown.

    `first_samples` is, for each of the `pictures` and for their end, the first sample that shows it or a later picture;
    `samples` is the number of all samples.
    """
    if damaged is None or (damaged and len(first_samples) != pictures + 1):
        return None
    found = []
    for first, stop in damaged:
        begin = first_samples[first]
        # The last picture is shown up to the end, also if no sample falls on it.
        end = first_samples[stop] if stop < pictures else samples
        if begin < end:
            found.append((begin, end))
    return merged(found)


def rows_of_samples(samples: Ranges | None, first: int, stop: int, frames_per_clip: int) -> Ranges | None:
    """Return the ranges of rows that contain any of these samples, for rows made of the samples `first` to `stop`."""
    if samples is None:
        return None
    cut = [(max(begin, first) - first, min(end, stop) - first) for begin, end in samples]
    return merged([(begin // frames_per_clip, -(-end // frames_per_clip)) for begin, end in cut if begin < end])


def merged(ranges: Sequence[tuple[int, int]]) -> Ranges:
    """Return ordered ranges, with those that touch or overlap joined."""
    found: list[tuple[int, int]] = []
    for first, stop in ranges:
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((first, stop))
    return tuple(found)
