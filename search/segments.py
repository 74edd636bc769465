"""Segments: the embeddings, times and captions of many moments, written once and memory-mapped."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from reeldex.search.errors import IndexDamagedError
from reeldex.search.generation import REMEDY, readable, segment_files
from reeldex.search.moments import Window
from reeldex.storage.atomic import publish

Halves = npt.NDArray[np.float16]
Records = npt.NDArray[np.void]
MOMENT = np.dtype([("start_seconds", "<f8"), ("end_seconds", "<f8"), ("caption_at", "<i8"), ("caption_bytes", "<i8")])


class _NpyFile:
    """A .npy file that grows: its header has space for the final row count."""

    def __init__(self, file: IO[bytes], dtype: np.dtype[Any], row_shape: tuple[int, ...]) -> None:
        self.count = 0
        self._file, self._dtype, self._row_shape = file, dtype, row_shape
        self._header()
        self._at = file.tell()

    def append(self, rows: npt.NDArray[Any]) -> None:
        self._file.write(np.ascontiguousarray(rows, self._dtype).tobytes())
        self.count += len(rows)

    def finish(self) -> None:
        self._file.seek(0)
        self._header()
        if self._file.tell() != self._at:
            raise AssertionError("NumPy's header left no room for the number of rows")

    def _header(self) -> None:
        described = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": described, "fortran_order": False, "shape": (self.count, *self._row_shape)}
        np.lib.format.write_array_header_1_0(self._file, header)


class SegmentWriter:
    """Writes moments and, in the same order but possibly later, their embeddings."""

    def __init__(self, files: Sequence[IO[bytes]], embed_dim: int) -> None:
        self._embeddings = _NpyFile(files[0], np.dtype("<f2"), (embed_dim,))
        self._moments = _NpyFile(files[1], MOMENT, ())
        self._captions = files[2]

    @property
    def rows(self) -> int:
        """Number of moments added so far, which is the row of the next one."""
        return self._moments.count

    def add_windows(self, windows: Sequence[Window]) -> None:
        """Append the times and captions of moments."""
        records = np.zeros(len(windows), MOMENT)
        for at, window in enumerate(windows):
            text = window.caption.encode("utf-8", "replace")
            records[at] = (window.start_seconds, window.end_seconds, self._captions.tell(), len(text))
            self._captions.write(text)
        self._moments.append(records)

    def add_embeddings(self, embeddings: npt.NDArray[Any]) -> None:
        """Append (n, D) embeddings of any float type."""
        self._embeddings.append(embeddings)

    def copy(self, segment: Segment, first: int, stop: int, rows_at_a_time: int) -> None:
        """Append complete rows of another segment."""
        for begin in range(first, stop, rows_at_a_time):
            end = min(begin + rows_at_a_time, stop)
            self.add_windows([segment.window(row) for row in range(begin, end)])
            self.add_embeddings(segment.embeddings[begin:end])

    def finish(self) -> None:
        """Complete the files; raises ValueError when the numbers of moments and embeddings differ."""
        if self._embeddings.count != self._moments.count:
            raise ValueError(f"{self._moments.count} moments have {self._embeddings.count} embeddings.")
        self._embeddings.finish()
        self._moments.finish()


@contextmanager
def write_segment(folder: Path, number: int, embed_dim: int) -> Iterator[SegmentWriter]:
    """Publish a segment with what the block writes; nothing if it raises."""
    with ExitStack() as stack:
        temporaries = [stack.enter_context(publish(folder / name)) for name in segment_files(number)]
        with ExitStack() as opened:
            writer = SegmentWriter([opened.enter_context(path.open("wb")) for path in temporaries], embed_dim)
            yield writer
            writer.finish()


@dataclass(frozen=True, eq=False)
class Segment:
    """An open segment: `embeddings` (N, D) float16 and `moments` (N,) MOMENT, mapped; `captions` in UTF-8."""

    embeddings: Halves
    moments: Records
    captions: bytes | mmap.mmap

    def window(self, row: int) -> Window:
        """Return the times and the caption of a moment."""
        start, end, at, size = self.moments[row].tolist()
        return Window(start, end, self.captions[at : at + size].decode("utf-8"))


def open_segment(folder: Path, number: int, rows: int, embed_dim: int) -> Segment:
    """Memory-map a segment; raises IndexDamagedError when it does not have this shape.

    Raises IndexUnreadableError where the system does not allow reading it, FileNotFoundError for an absent file.
    """
    embeddings, moments, captions = (folder / name for name in segment_files(number))
    try:
        with readable(embeddings):
            halves = np.load(embeddings, mmap_mode="r", allow_pickle=False)
        with readable(moments):
            records = np.load(moments, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        # NumPy's own message is about unpickling, which is not a remedy.
        raise IndexDamagedError(
            f"{embeddings} or {moments.name} beside it does not have the expected content. {REMEDY}"
        ) from error
    if (halves.shape, halves.dtype, records.shape, records.dtype) != ((rows, embed_dim), "<f2", (rows,), MOMENT):
        raise IndexDamagedError(
            f"{embeddings} holds {halves.dtype} {halves.shape} instead of {rows} embeddings of {embed_dim} numbers. "
            f"{REMEDY}"
        )
    text: bytes | mmap.mmap = b""
    with readable(captions), captions.open("rb") as file:
        if os.fstat(file.fileno()).st_size:
            text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return Segment(halves.view(np.ndarray), records.view(np.ndarray), text)
