"""All moments of an index: from a moment's id to its video, times and embedding."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reeldex.search.generation import Generation
from reeldex.search.moments import Window
from reeldex.search.segments import Halves, Segment, open_segment
from reeldex.search.video_records import VideoRecord, VideoRecords

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

    def __init__(self, records: VideoRecords, segments: Mapping[int, Segment], embed_dim: int) -> None:
        self.records = records
        self.segments = segments
        self.embed_dim = embed_dim
        self._first_ids: Ids = records.numbers("first_id")
        self._first_rows: Ids = records.numbers("first_row")
        self._segment_of: Ids = records.numbers("segment")
        self._counts: Ids = records.numbers("moments")
        video_ids = list(records.texts("video_id"))
        self.by_video_id: Ids = np.array(sorted(range(len(records)), key=video_ids.__getitem__), dtype=np.int64)
        """The indices of `records` in the order of their videos' ids."""
        self._rank_of = np.empty(len(records), dtype=np.int64)
        self._rank_of[self.by_video_id] = np.arange(len(records))

    @classmethod
    def open(cls, folder: Path, generation: Generation, records: VideoRecords) -> MomentTable:
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
        chosen = slice(None) if videos is None else np.asarray(videos, np.int64)
        first_ids, counts = self._first_ids[chosen], self._counts[chosen]
        before = np.cumsum(counts) - counts
        ids: Ids = np.arange(counts.sum(), dtype=np.int64) + np.repeat(first_ids - before, counts)
        return ids

    def find(self, video_id: str) -> int | None:
        """Return the index of a video in `records`, None for an unknown one."""
        video_ids = self.records.texts("video_id")
        at = bisect_left(self.by_video_id, video_id, key=video_ids.__getitem__)
        found = int(self.by_video_id[at]) if at < len(self.records) else None
        return found if found is not None and video_ids[found] == video_id else None

    def locate(self, ids: Ids) -> tuple[Ids, Ids]:
        """Return each moment's video (index in `records`) and its row in that video's segment; ids must be known."""
        videos = np.searchsorted(self._first_ids, ids, side="right") - 1
        return videos, self._first_rows[videos] + ids - self._first_ids[videos]

    def window(self, moment_id: int) -> tuple[VideoRecord, Window]:
        """Return the video and the times of a moment."""
        record = self.records[int(self._first_ids.searchsorted(moment_id, side="right")) - 1]
        return record, self.segments[record.segment].window(record.first_row + moment_id - record.first_id)

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

    def runs(self, first_id: int = 0) -> Iterator[Run]:
        """Return the moments of this id and above in their order, as the longest possible runs of neighbours.

        The id is the first of a video.
        """
        first = int(np.searchsorted(self._first_ids, first_id))
        ids, counts = self._first_ids[first:], self._counts[first:]
        rows, segments = self._first_rows[first:], self._segment_of[first:]
        joined = (segments[1:] == segments[:-1]) & (rows[1:] == (rows + counts)[:-1]) & (ids[1:] == (ids + counts)[:-1])
        bounds = [*np.flatnonzero(np.concatenate([[True], ~joined])).tolist(), len(ids)] if len(ids) else []
        for begin, stop in pairwise(bounds):
            count = int(counts[begin:stop].sum())
            yield Run(int(segments[begin]), int(rows[begin]), int(ids[begin]), count)

    def blocks(self, first_id: int = 0) -> Iterator[tuple[Ids, Floats]]:
        """Yield the moments of `runs` in blocks: ids (n,) and embeddings (n, D) float32."""
        for run in self.runs(first_id):
            for first in range(0, run.count, self.rows_per_block):
                count = min(self.rows_per_block, run.count - first)
                begin = run.first_row + first
                rows = self.segments[run.segment].embeddings[begin : begin + count]
                yield np.arange(count, dtype=np.int64) + run.first_id + first, rows.astype(np.float32)
