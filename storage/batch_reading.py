"""Reads the rows of many videos at once, file by file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reeldex.storage.reading import OpenShards, span_rows

Rows = npt.NDArray[np.float16]
Span = tuple[float, float]


def read_batch(
    shards: OpenShards,
    find: Callable[[str], tuple[Path, str]],
    video_ids: Sequence[str],
    spans: Sequence[Span] | None,
) -> list[Rows]:
    """Return the rows of each video in the order given; `find` returns its file, and its id there.

    Each file is visited once, so that a batch from many shards opens none of them twice. Raises ValueError when there
    is not one span per video.
    """
    if spans is not None and len(spans) != len(video_ids):
        raise ValueError(f"Give one span per video: got {len(spans)} spans and {len(video_ids)} videos.")
    places: dict[Path, list[tuple[int, str]]] = {}
    for place, video_id in enumerate(video_ids):
        path, stored_id = find(video_id)
        places.setdefault(path, []).append((place, stored_id))
    found: dict[int, Rows] = {}
    for path, there in sorted(places.items()):
        with shards.reader(path) as reader:
            for place, stored_id in there:
                if spans is None:
                    found[place] = reader.read(stored_id).rows
                else:
                    first, stop = span_rows(reader.timing(stored_id), *spans[place])
                    found[place] = reader.read_rows(stored_id, first, stop)
    return [found[place] for place in range(len(video_ids))]
