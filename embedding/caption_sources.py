"""Captions as published files hold them: JSON, pickle or csv, read video by video."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np

from reeldex.embedding.caption_cache import ReadCaptions
from reeldex.embedding.captions import VideoCaptions
from reeldex.embedding.datasets.cells import seconds_of, text_of
from reeldex.embedding.datasets.rows import Row
from reeldex.embedding.datasets.tables import stream_table
from reeldex.embedding.errors import DatasetError, listed
from reeldex.embedding.json_stream import object_members
from reeldex.embedding.unpickling import load_pickle

_FIELDS = ("start", "end", "text")
_NOT_IN_AN_ID = "\0"


def read_captions(path: Path) -> Iterator[ReadCaptions]:
    """Yield the captions of each video of a .json, .csv, .pickle or .pkl file; raises DatasetError.

    JSON and csv are read in bounded memory; a pickle is held whole, and nothing of it is executed. A csv has the
    columns video_id, start, end and text; rows of one video that are not adjacent come in several parts.
    """
    if path.suffix.lower() == ".csv":
        yield from _from_csv(path)
        return
    for video_id, entry in _entries(path):
        if not isinstance(video_id, str) or _NOT_IN_AN_ID in video_id:
            raise DatasetError(f"{path} does not map video ids to their captions (start, end, text).")
        yield _of_entry(video_id, entry)


def _entries(path: Path) -> Iterator[tuple[object, object]]:
    suffix = path.suffix.lower()
    if suffix == ".json":
        yield from object_members(path)
    elif suffix in {".pickle", ".pkl"}:
        held = load_pickle(path)
        if not isinstance(held, dict):
            raise DatasetError(f"{path} does not map video ids to their captions (start, end, text).")
        yield from held.items()
    else:
        raise DatasetError(f"{path} is neither .json nor .csv, .pickle or .pkl: its format is unknown.")


def _of_entry(video_id: str, entry: object) -> ReadCaptions:
    try:
        if not isinstance(entry, Mapping):
            raise TypeError(f"it holds a {type(entry).__name__}, not start, end and text")  # noqa: TRY301 - told below
        start, end, text = (_as_list(entry, field) for field in _FIELDS)
        return _with_possible_times(video_id, _times(start), _times(end), tuple(text_of(each) or "" for each in text))
    except (TypeError, ValueError) as error:
        return ReadCaptions(video_id, None, str(error))


def _with_possible_times(
    video_id: str, starts: Sequence[float], ends: Sequence[float], texts: Sequence[str]
) -> ReadCaptions:
    """Return the captions of a video without those whose times are impossible, which are counted.

    A caption without text stays: it has no words. Raises ValueError when nothing is left.
    """
    try:
        return ReadCaptions(video_id, VideoCaptions(tuple(starts), tuple(ends), tuple(texts)))
    except ValueError:
        if not len(starts) == len(ends) == len(texts):
            raise
        rows = [row for row in zip(starts, ends, texts, strict=True) if 0 <= row[0] <= row[1] < math.inf]
        if not rows:
            raise
        return ReadCaptions(video_id, VideoCaptions(*zip(*rows, strict=True)), dropped=len(starts) - len(rows))


def _times(values: Sequence[object]) -> tuple[float, ...]:
    """Return times in seconds, NaN for what is none."""
    try:
        times = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        # Times as minutes:seconds, or something else among them.
        found = (seconds_of(value) for value in values)
        return tuple(math.nan if seconds is None else seconds for seconds in found)
    if times.ndim != 1:
        raise ValueError("its times are not a list of numbers")
    return tuple(times.tolist())


def _as_list(entry: Mapping[str, object], field: str) -> Sequence[object]:
    if field not in entry:
        raise ValueError(f"it lacks {field!r}; it has {listed(sorted(map(repr, entry))) or 'nothing'}")
    values = entry[field]
    if isinstance(values, np.ndarray) and values.ndim:
        plain: list[object] = values.tolist()
        return plain
    if not isinstance(values, list | tuple):
        raise TypeError(f"{field!r} is a {type(values).__name__}, not a list")
    return values


def _from_csv(path: Path) -> Iterator[ReadCaptions]:
    seen = set()
    for video_id, rows in groupby(
        stream_table(path, ["video_id", *_FIELDS]), lambda row: text_of(row.values["video_id"])
    ):
        if video_id is None:
            yield ReadCaptions("", None, dropped=sum(1 for _ in rows), continues=True)
            continue
        spoken = [(*_csv_times(row), text_of(row.values["text"]) or "") for row in rows]
        starts, ends, texts = zip(*sorted(spoken, key=lambda row: (math.isnan(row[0]), row[0])), strict=True)
        try:
            read = _with_possible_times(video_id, starts, ends, texts)
        except ValueError as error:
            read = ReadCaptions(video_id, None, str(error), dropped=len(starts))
        yield replace(read, continues=video_id in seen)
        seen.add(video_id)


def _csv_times(row: Row) -> tuple[float, float]:
    """Return the times of a row, both NaN when one of them is none."""
    start, end = seconds_of(row.values["start"]), seconds_of(row.values["end"])
    return (math.nan, math.nan) if start is None or end is None else (start, end)
