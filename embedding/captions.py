"""HowTo100M's captions, and the windows that short captions are extended to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reeldex.embedding.words.vectors import tokenise


@dataclass(frozen=True)
class VideoCaptions:
    """The captions of a video, ordered by start; times in seconds.

    Raises ValueError unless there is at least one caption, each has a start, a later or equal end and a text,
    and starts are finite, not negative and in order.
    """

    start_seconds: tuple[float, ...]
    end_seconds: tuple[float, ...]
    texts: tuple[str, ...]

    def __post_init__(self) -> None:
        counts = (len(self.start_seconds), len(self.end_seconds), len(self.texts))
        if len(set(counts)) != 1:
            raise ValueError("it has {} starts, {} ends and {} texts".format(*counts))
        if not self.texts:
            raise ValueError("it has no captions")
        starts, ends = np.array(self.start_seconds), np.array(self.end_seconds)
        possible = (starts >= 0) & (starts <= ends) & np.isfinite(ends)
        if not possible.all():
            at = int(np.argmin(possible))
            raise ValueError(f"caption {at} lasts from {starts[at]} to {ends[at]} seconds")
        if (starts[1:] < starts[:-1]).any():
            at = int(np.argmax(starts[1:] < starts[:-1])) + 1
            raise ValueError(f"caption {at} starts at {starts[at]} seconds, before the previous one")

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class CaptionWindow:
    """Neighbouring captions joined into one window: from caption `first` up to and including `last`; times in seconds.

    `words` are the caption's own, then those of each neighbour in the order in which they were joined.
    """

    first: int
    last: int
    start_seconds: float
    end_seconds: float
    words: tuple[str, ...]


def grow_window(
    captions: VideoCaptions,
    caption: int,
    min_seconds: float,
    min_words: int = 0,
    words_of: Callable[[str], list[str]] = tokenise,
) -> CaptionWindow:
    """Extend a caption by its neighbours until it lasts `min_seconds` and has `min_words`, or there are no more.

    With a `min_seconds`, the neighbour that gives the shorter window comes first, the earlier one at a tie;
    without, the one with more words, the earlier one at a tie. As the published HowTo100M reader does.
    `words_of` splits a text into the words that count.
    """
    first = last = caption
    words = list(words_of(captions.texts[caption]))
    starts, ends = captions.start_seconds, captions.end_seconds
    while len(words) < min_words or ends[last] - starts[first] < min_seconds:
        earlier, later = first > 0, last < len(captions) - 1
        if not (earlier or later):
            break
        if earlier and later:
            if min_seconds > 0:
                earlier = ends[last] - starts[first - 1] <= ends[last + 1] - starts[first]
            else:
                before, after = (words_of(captions.texts[at]) for at in (first - 1, last + 1))
                earlier = len(after) <= len(before)
        if earlier:
            first -= 1
            words.extend(words_of(captions.texts[first]))
        else:
            last += 1
            words.extend(words_of(captions.texts[last]))
    return CaptionWindow(first, last, starts[first], ends[last], tuple(words))
