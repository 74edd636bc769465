"""Merges segments into one when they are many or mostly unused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from reeldex.search.moment_table import MomentTable
from reeldex.search.segments import write_segment
from reeldex.search.video_records import VideoRecords

_MOST_SEGMENTS = 64


def needs_compaction(rows: Mapping[int, int], moments: int) -> bool:
    """Return whether over half of the rows on disk are unused, or there are more than 64 segments."""
    return len(rows) > _MOST_SEGMENTS or 2 * moments < sum(rows.values())


def compact(table: MomentTable, folder: Path, number: int) -> VideoRecords:
    """Publish one segment of all moments of a table; return its records. Moments keep their ids."""
    row = 0
    records = VideoRecords()
    for record in table.records:
        records.append(replace(record, segment=number, first_row=row))
        row += record.moments
    with write_segment(folder, number, table.embed_dim) as writer:
        for run in table.runs():
            segment = table.segments[run.segment]
            writer.copy(segment, run.first_row, run.first_row + run.count, table.rows_per_block)
    return records
