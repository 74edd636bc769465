"""Pack clips of many videos into full batches, and track the owner of each row.

Every batch has the full number of rows: a batch that is flushed early is padded with black clips. Rows are then
batch-invariant (a row's bytes depend only on its own clip), because the device always computes the same shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """`clips` (B, T, H, W, 3) uint8 for one extractor; row i belongs to `owners[i]`, further rows are padding.

    An owner is (number of the video, index of the row within it).
    """

    extractor: str
    clips: NDArray[np.uint8]
    owners: tuple[tuple[int, int], ...]


# A clip that waits for its batch, after its owner.
_Waiting = tuple[tuple[int, int], NDArray[np.uint8]]


def _in_ordinary_memory(_: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.empty(shape, np.uint8)


class Batcher:
    """Collects clips by extractor and shape until a batch is full.

    `new_batch(extractor, shape)` returns an uninitialised array for a batch.
    """

    def __init__(self, new_batch: Callable[[str, tuple[int, ...]], NDArray[np.uint8]] = _in_ordinary_memory) -> None:
        self._new_batch = new_batch
        self._waiting: dict[tuple[str, tuple[int, ...]], list[_Waiting]] = {}

    def add(
        self, extractor: str, clips: NDArray[np.uint8], video: int, first_row: int, batch_rows: int
    ) -> Iterator[Batch]:
        """Add (N, T, H, W, 3) uint8 clips, rows `first_row` onwards of `video`; yield batches that are full."""
        key = (extractor, clips.shape[1:])
        group = self._waiting.setdefault(key, [])
        for offset, clip in enumerate(clips):
            group.append(((video, first_row + offset), clip))
            if len(group) >= batch_rows:
                yield self._pack(extractor, group, batch_rows)
                group.clear()
        if not group:
            del self._waiting[key]

    def flush(self, batch_rows: dict[str, int], video: int | None = None) -> Iterator[Batch]:
        """Yield pending batches, padded to `batch_rows` of their extractor: all, or those with rows of `video`."""
        for key, group in list(self._waiting.items()):
            if video is None or any(owner[0] == video for owner, _ in group):
                del self._waiting[key]
                size = batch_rows[key[0]]
                for start in range(0, len(group), size):
                    yield self._pack(key[0], group[start : start + size], size)

    def discard(self, video: int) -> None:
        """Drop the pending rows of a failed video."""
        for key, group in list(self._waiting.items()):
            group[:] = [item for item in group if item[0][0] != video]
            if not group:
                del self._waiting[key]

    def _pack(self, extractor: str, group: list[_Waiting], batch_rows: int) -> Batch:
        clips = self._new_batch(extractor, (max(batch_rows, len(group)), *group[0][1].shape))
        for index, (_, clip) in enumerate(group):
            clips[index] = clip
        clips[len(group) :] = 0
        return Batch(extractor, clips, tuple(owner for owner, _ in group))


class RowBuffer:
    """Rows of one video, received in any order, in one growing array.

    Rows are copied out of their batch immediately. Otherwise thousands of small arrays would fragment the heap between
    the networks' large arrays: 0.8 GB for an hour of video.
    """

    def __init__(self, feature_dim: int) -> None:
        self._rows = np.empty((64, feature_dim), np.float16)

    def put(self, row: int, values: NDArray[np.float16]) -> None:
        """Store `values` (D,) float16 as row number `row`."""
        while row >= len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[row] = values

    def take(self, count: int) -> NDArray[np.float16]:
        """Return the first `count` rows, (count, D) float16."""
        return self._rows[:count].copy()
