"""HowTo100M's captions, and the windows that short captions are extended to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reeldex.embedding.datasets.tables import read_text
from reeldex.embedding.errors import DatasetError
from reeldex.embedding.unpickling import load_pickle
from reeldex.embedding.words.vectors import tokenise

_FIELDS = ("start", "end", "text")


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


def grow_window(captions: VideoCaptions, caption: int, min_seconds: float, min_words: int = 0) -> CaptionWindow:
    """Extend a caption by its neighbours until it lasts `min_seconds` and has `min_words`, or there are no more.

    With a `min_seconds`, the neighbour that gives the shorter window comes first, the earlier one at a tie;
    without, the one with more words, the earlier one at a tie. As the published HowTo100M reader does.
    """
    first = last = caption
    words = list(tokenise(captions.texts[caption]))
    starts, ends = captions.start_seconds, captions.end_seconds
    while len(words) < min_words or ends[last] - starts[first] < min_seconds:
        earlier, later = first > 0, last < len(captions) - 1
        if not (earlier or later):
            break
        if earlier and later:
            if min_seconds > 0:
                earlier = ends[last] - starts[first - 1] <= ends[last + 1] - starts[first]
            else:
                before, after = (tokenise(captions.texts[at]) for at in (first - 1, last + 1))
                earlier = len(after) <= len(before)
        if earlier:
            first -= 1
            words.extend(tokenise(captions.texts[first]))
        else:
            last += 1
            words.extend(tokenise(captions.texts[last]))
    return CaptionWindow(first, last, starts[first], ends[last], tuple(words))


class CaptionFile:
    """The captions of many videos: for each id `start`, `end` (seconds) and `text`, of equal lengths."""

    def __init__(self, path: Path, entries: Mapping[str, object]) -> None:
        self.path = path
        self._entries = entries

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._entries

    def captions(self, video_id: str) -> VideoCaptions:
        """Return the captions of a video; raises DatasetError when it has none or they are malformed."""
        if video_id not in self._entries:
            raise DatasetError(f"{self.path} has no captions of the video {video_id!r}.")
        entry = self._entries[video_id]
        try:
            if not isinstance(entry, Mapping):
                raise TypeError(f"it holds a {type(entry).__name__}, not start, end and text")  # noqa: TRY301 - told below
            start, end, text = (_as_list(entry, field) for field in _FIELDS)
            return VideoCaptions(_as_floats(start), _as_floats(end), tuple(map(str, text)))
        except (TypeError, ValueError) as error:
            raise DatasetError(
                f"{self.path}: the captions of the video {video_id!r} cannot be used: {error}."
            ) from error

    def problem(self, video_id: str) -> str | None:
        """Return why a video's captions cannot be used, None when they can."""
        try:
            self.captions(video_id)
        except DatasetError as error:
            return str(error)
        return None


def load_captions(path: Path) -> CaptionFile:
    """Read captions from a pickle (.pickle, .pkl), without executing it, or from JSON; raises DatasetError."""
    entries: object
    if path.suffix == ".json":
        try:
            entries = json.loads(read_text(path))
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{path} cannot be read as JSON: {error}.") from error
    elif path.suffix in {".pickle", ".pkl"}:
        entries = load_pickle(path)
    else:
        raise DatasetError(f"{path} is neither .json nor .pickle or .pkl: its format is unknown.")
    if not isinstance(entries, dict) or not all(isinstance(key, str) for key in entries):
        raise DatasetError(f"{path} does not map video ids to their captions (start, end, text).")
    return CaptionFile(path, entries)


def _as_floats(values: Sequence[object]) -> tuple[float, ...]:
    times = np.asarray(values, dtype=np.float64)
    if times.ndim != 1:
        raise ValueError("its times are not a list of numbers")
    return tuple(times.tolist())


def _as_list(entry: Mapping[str, object], field: str) -> Sequence[object]:
    if field not in entry:
        raise ValueError(f"it lacks {field!r}; it has {', '.join(sorted(map(repr, entry))) or 'nothing'}")
    values = entry[field]
    if isinstance(values, np.ndarray) and values.ndim:
        listed: list[object] = values.tolist()
        return listed
    if not isinstance(values, list | tuple):
        raise TypeError(f"{field!r} is a {type(values).__name__}, not a list")
    return values
