"""Many spans of a video pooled at once: what `embedding.pooling` does to one, reading only the rows it needs."""

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from embedding.errors import FeaturesError
from embedding.features import STREAMS, FeatureSource
from embedding.pooling import Floats, normalise
from storage.reading import span_rows
from storage.shard import RowTiming

_HALF_INFINITY = 0x7C00


def pool_blocks(blocks: Sequence[Floats], width: int) -> npt.NDArray[np.float32]:
    """Take each (n, width) block's element-wise maximum and normalise it: (len(blocks), width) float32.

    Zeros for a block without rows. The same numbers as `pooling.pool_rows` of each. Raises ValueError for a
    block of another width, and for NaN or infinity, which a maximum could hide.
    """
    pooled = np.zeros((len(blocks), width), dtype=np.float32)
    halves: list[int] = []
    bits = np.zeros((len(blocks), width), dtype=np.int16)
    for at, block in enumerate(blocks):
        if block.ndim != 2 or block.shape[1] != width:
            raise ValueError(f"rows of {width} numbers were expected, not an array {block.shape}")
        if not len(block):
            continue
        if block.dtype == np.float16 and block.view(np.uint16).max() < _HALF_INFINITY:
            # Finite halves without a sign, as rectified features are, stand in the order of their bits. NumPy has
            # vector instructions for the maximum of integers and none for that of halves.
            np.maximum.reduce(block.view(np.int16), axis=0, out=bits[at])
            halves.append(at)
        else:
            wide = block.astype(np.float32)
            if not np.isfinite(wide).all():
                raise ValueError(f"row {int(np.argmin(np.isfinite(wide).all(axis=1)))} of a span holds NaN or infinity")
            np.maximum.reduce(wide, axis=0, out=pooled[at])
    if halves:
        pooled[halves] = bits[halves].view(np.float16)
    return normalise(pooled)


def pool_spans(
    source: FeatureSource, video_id: str, spans: Sequence[tuple[float, float]], slack_rows: int = 0
) -> npt.NDArray[np.float32]:
    """Pool spans (start, end) in seconds of one video to (len(spans), D2 + D3) float32.

    Each stream's rows int(s * r) up to and including int(e * r), element-wise maximum, L2-normalised; 2-D before
    3-D. Reads those rows only. A stream is zero in a span beyond its end; one that begins less than `slack_rows` rows
    beyond it, as rounding may have it, has the last row. Raises FeaturesError.
    """
    pooled = []
    for stream in range(len(STREAMS)):
        video = source.video(stream, video_id)
        try:
            runs = [_run(video.timing, span, slack_rows) for span in spans]
        except ValueError as error:
            raise FeaturesError(f"The video {video_id!r}: {error}") from error
        pooled.append(_pool(source, stream, video_id, video.read(runs)))
    return np.concatenate(pooled, axis=1)


def rows_beyond_end(timing: RowTiming, span: tuple[float, float]) -> int:
    """Tell how many rows beyond the last one a span (start, end) in seconds begins; 0 or less when it has rows."""
    first, _ = span_rows(replace(timing, row_count=sys.maxsize), *span)
    return first - timing.row_count + 1


def _run(timing: RowTiming, span: tuple[float, float], slack_rows: int) -> tuple[int, int]:
    first, stop = span_rows(timing, *span)
    if first == stop and slack_rows and rows_beyond_end(timing, span) <= slack_rows:
        return timing.row_count - 1, timing.row_count
    return first, stop


def pool_whole(source: FeatureSource, video_id: str) -> npt.NDArray[np.float32]:
    """Pool all rows of a video to (D2 + D3,) float32; raises FeaturesError."""
    pooled = []
    for stream in range(len(STREAMS)):
        video = source.video(stream, video_id)
        pooled.append(_pool(source, stream, video_id, video.read([(0, video.timing.row_count)]))[0])
    return np.concatenate(pooled)


def pool_groups(
    source: FeatureSource, video_id: str, groups: Sequence[Sequence[tuple[int, int]]]
) -> npt.NDArray[np.float32]:
    """Pool groups of runs of rows, one group a stream, to one (D2 + D3,) float32 vector; raises FeaturesError."""
    pooled = []
    for stream, runs in enumerate(groups):
        rows = np.concatenate(source.video(stream, video_id).read(runs))
        pooled.append(_pool(source, stream, video_id, [rows])[0])
    return np.concatenate(pooled)


def _pool(source: FeatureSource, stream: int, video_id: str, blocks: Sequence[Floats]) -> npt.NDArray[np.float32]:
    try:
        return pool_blocks(blocks, source.stream_dims[stream])
    except ValueError as error:
        raise FeaturesError(
            f"The {STREAMS[stream]} features of the video {video_id!r} cannot be used: {error}. Extract this video "
            "again, or leave it out."
        ) from error
