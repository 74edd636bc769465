"""Rows that may show damaged pictures: which of them a store records, and what is left of runs of rows without them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from reeldex.quantities import counted
from reeldex.storage.store import FeatureStore

log = logging.getLogger(__name__)

Ranges = tuple[tuple[int, int], ...]


def undamaged(runs: Sequence[tuple[int, int]], damaged: Ranges, row_count: int) -> list[tuple[int, int]]:
    """Return the parts of runs (first, stop) of a video's rows that are outside the damaged ranges, in order."""
    kept = []
    for begin, end in runs:
        first, stop = begin, min(end, row_count)
        for bad_first, bad_stop in damaged:
            if first < min(bad_first, stop):
                kept.append((first, min(bad_first, stop)))
            first = max(first, bad_stop)
        if first < stop:
            kept.append((first, stop))
    return kept


def only_damaged(runs: Sequence[tuple[int, int]], damaged: Ranges, row_count: int) -> bool:
    """Whether runs have rows, and all of them are damaged; False for runs without rows."""
    return bool(damaged) and bool(undamaged(runs, (), row_count)) and not undamaged(runs, damaged, row_count)


def read_damage(store: FeatureStore, spaces: Sequence[str], video_ids: Sequence[str]) -> dict[str, tuple[Ranges, ...]]:
    """Return the damaged ranges of rows in each space, of those videos that have any.

    Logs of how many videos the store does not record them; their rows count as undamaged. Raises StoreError.
    """
    found = {}
    unknown = 0
    for video_id in video_ids:
        recorded = [store.damaged_rows(space, video_id) for space in spaces]
        unknown += None in recorded
        if any(recorded):
            found[video_id] = tuple(ranges or () for ranges in recorded)
    if unknown:
        log.warning(
            "%s does not record which rows of %d of its %s may show damaged pictures; all their rows are used. "
            "Extract these videos again to record them.",
            store.path,
            unknown,
            counted(len(video_ids), "video"),
        )
    return found
