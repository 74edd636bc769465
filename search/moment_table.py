"""All moments of an index: from a moment's id to its video, times and embedding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reeldex.search.generation import Generation, VideoRecord
from reeldex.search.moments import Window
from reeldex.search.segments import Halves, Segment, open_segment

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

BLOCK_BYTES = 64 << 20
"""Embeddings are processed in blocks of about this size, as float32."""


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring moments: ids `first_id`... in the rows `first_row`... of a segment."""

    segment: int
    first_row: int
    first_id: int
    count: int


class MomentTable:
    """The moments of `records`, which are ordered by id; embeddings are read on demand.

    Thread-safe.
    """

    def __init__(self, records: Sequence[VideoRecord], segments: Mapping[int, Segment], embed_dim: int) -> None:
        self.records = records
        self.segments = segments
        self.embed_dim = embed_dim
        self._first_ids = np.array([record.first_id for record in records], dtype=np.int64)
        self._first_rows = np.array([record.first_row for record in records], dtype=np.int64)
        self._segment_of = np.array([record.segment for record in records], dtype=np.int64)
        self._counts = np.array([record.moments for record in records], dtype=np.int64)
        by_id = sorted(range(len(records)), key=lambda at: records[at].video_id)
        self._rank_of = np.empty(len(records), dtype=np.int64)
        self._rank_of[by_id] = np.arange(len(records))

    @classmethod
    def open(cls, folder: Path, generation: Generation, records: Sequence[VideoRecord]) -> MomentTable:
        """Memory-map the segments of a generation; raises IndexDamagedError."""
        dim = generation.inputs.embed_dim
        opened = {number: open_segment(folder, number, rows, dim) for number, rows in generation.rows.items()}
        return cls(records, opened, dim)

    def __len__(self) -> int:
        return int(self._counts.sum())

    @property
    def rows_per_block(self) -> int:
        """Number of embeddings per block."""
        return max(1, BLOCK_BYTES // (4 * self.embed_dim))

    def ids(self, videos: Sequence[int] | None = None) -> Ids:
        """Return the ids of all moments, or of those of the videos at these indices of `records`, ascending."""
        chosen = range(len(self.records)) if videos is None else videos
        parts = [np.arange(self._counts[at], dtype=np.int64) + self._first_ids[at] for at in chosen]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def locate(self, ids: Ids) -> tuple[Ids, Ids]:
        """Return each moment's video (index in `records`) and its row in that video's segment; ids must be known."""
        videos = np.searchsorted(self._first_ids, ids, side="right") - 1
        return videos, self._first_rows[videos] + ids - self._first_ids[videos]

    def window(self, moment_id: int) -> tuple[VideoRecord, Window]:
        """Return the video and the times of a moment."""
        videos, rows = self.locate(np.array([moment_id], dtype=np.int64))
        record = self.records[int(videos[0])]
        return record, self.segments[record.segment].window(int(rows[0]))

    def windows(self, record: VideoRecord) -> list[Window]:
        """Return the times of all moments of a video."""
        segment = self.segments[record.segment]
        return [segment.window(record.first_row + at) for at in range(record.moments)]

    def embeddings(self, ids: Ids) -> Halves:
        """Return the embeddings of moments, (n, D) float16."""
        videos, rows = self.locate(ids)
        segments = self._segment_of[videos]
        found = np.empty((len(ids), self.embed_dim), dtype=np.float16)
        for number in np.unique(segments).tolist():
            here = np.flatnonzero(segments == number)
            # In file order, so that the disk is read sequentially.
            here = here[np.argsort(rows[here], kind="stable")]
            found[here] = self.segments[number].embeddings[rows[here]]
        return found

    def scores(self, query: Floats, ids: Ids) -> Floats:
        """Return the exact inner products of a query (D,) with moments, (n,) float32.

        A moment's score is bit-identical whatever other moments are scored with it.
        """
        found = np.empty(len(ids), dtype=np.float32)
        for first in range(0, len(ids), self.rows_per_block):
            block = self.embeddings(ids[first : first + self.rows_per_block]).astype(np.float32)
            found[first : first + len(block)] = np.einsum("nd,d->n", block, query)
        return found

    def ranked(self, ids: Ids, scores: Floats) -> Ids:
        """Return the indices of `ids` by descending score; ties by video id, then by the moment's position."""
        videos, rows = self.locate(ids)
        return np.lexsort((rows, self._rank_of[videos], -scores)).astype(np.int64)

    def runs(self) -> Iterator[Run]:
        """Return all moments in the order of their ids, as the longest possible runs of neighbours."""
        run: Run | None = None
        for record in self.records:
            if (
                run
                and record.segment == run.segment
                and record.first_row == run.first_row + run.count
                and record.first_id == run.first_id + run.count
            ):
                run = Run(run.segment, run.first_row, run.first_id, run.count + record.moments)
                continue
            if run:
                yield run
            run = Run(record.segment, record.first_row, record.first_id, record.moments)
        if run:
            yield run

    def blocks(self) -> Iterator[tuple[Ids, Floats]]:
        """Yield all moments in blocks: ids (n,) and embeddings (n, D) float32."""
        for run in self.runs():
            for first in range(0, run.count, self.rows_per_block):
                count = min(self.rows_per_block, run.count - first)
                begin = run.first_row + first
                rows = self.segments[run.segment].embeddings[begin : begin + count]
                yield np.arange(count, dtype=np.int64) + run.first_id + first, rows.astype(np.float32)
