"""Pools a video's feature rows to one vector per span, reading only the rows that spans need."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from reeldex.embedding.damaged_rows import only_damaged, undamaged
from reeldex.embedding.errors import FeaturesError
from reeldex.embedding.features import STREAMS, FeatureSource, VideoRows
from reeldex.embedding.pooling import Floats, normalise
from reeldex.storage.reading import span_rows
from reeldex.storage.shard import RowTiming

_HALF_INFINITY = 0x7C00


def pool_runs(rows: Floats, runs: Sequence[tuple[int, int]]) -> npt.NDArray[np.float32]:
    """Take the element-wise maximum of each run (first, stop) of (R, D) rows and normalise it: (runs, D) float32.

    Zeros for a run without rows. Raises ValueError for NaN and
    infinity, which a maximum could hide.
    """
    if rows.dtype != np.float16:
        return _pool_slowly(rows, runs)
    # Non-negative float16 values compare like their bits as integers, for which NumPy has a vectorised maximum and for
    # float16 it has none. Negative values, NaN and infinity have larger bit patterns, so they are detected.
    bits = rows.view(np.uint16)
    largest = np.zeros((len(runs), rows.shape[1]), dtype=np.uint16)
    for at, (first, stop) in enumerate(runs):
        if first < stop:
            np.maximum.reduce(bits[first:stop], axis=0, out=largest[at])
    if largest.max(initial=0) >= _HALF_INFINITY:
        return _pool_slowly(rows, runs)
    return normalise(_widened(largest))


def _widened(halves: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Convert the bits of finite non-negative float16 to float32: exponents differ by 112, mantissas by 13 bits."""
    wide = halves.astype(np.uint32)
    wide <<= 13
    result = wide.view(np.float32)
    result *= np.float32(2.0**112)
    return result


def _pool_slowly(rows: Floats, runs: Sequence[tuple[int, int]]) -> npt.NDArray[np.float32]:
    pooled = np.zeros((len(runs), rows.shape[1]), dtype=np.float32)
    for at, (first, stop) in enumerate(runs):
        wide = rows[first:stop].astype(np.float32)
        finite = np.isfinite(wide).all(axis=1)
        if not finite.all():
            raise ValueError(f"row {first + int(np.argmin(finite))} holds NaN or infinity")
        if len(wide):
            np.maximum.reduce(wide, axis=0, out=pooled[at])
    return normalise(pooled)


def pool_spans(
    source: FeatureSource, video_id: str, spans: Sequence[tuple[float, float]], slack_rows: int = 0
) -> npt.NDArray[np.float32]:
    """Pool spans (start, end) in seconds of one video to (len(spans), D2 + D3) float32.

    Each stream's rows int(s * r) up to and including int(e * r), element-wise maximum, L2-normalised; 2-D before 3-D.
    Reads those rows only. A stream is zero in a span beyond its end or before its start; a span that begins less than
    `slack_rows` rows beyond its end, because of rounding, gets the last row, and one that ends as little before its
    start the first. Damaged rows are skipped.
    Raises FeaturesError, also for a span of only damaged rows.
    """
    streams = (source.video(stream, video_id) for stream in range(len(STREAMS)))
    return pool_opened(streams, source.stream_dims, video_id, spans, slack_rows)


def pool_opened(
    streams: Iterable[VideoRows],
    widths: tuple[int, int],
    video_id: str,
    spans: Sequence[tuple[float, float]],
    slack_rows: int = 0,
) -> npt.NDArray[np.float32]:
    """Pool spans of one video as `pool_spans` does, to (len(spans), D2 + D3) float32, of streams that are open already.

    `streams` are the 2-D and the 3-D one, taken one after the other; `widths` their vector dimensions (D2, D3).
    Raises FeaturesError as `pool_spans` does.
    """
    # Captions that are drawn twice, or extended to the same window, are pooled once.
    places = {span: at for at, span in enumerate(dict.fromkeys(spans))}
    order = np.array([places[span] for span in spans], dtype=np.intp)
    joined = np.empty((len(spans), sum(widths)), dtype=np.float32)
    for stream, (begin, video) in enumerate(zip((0, widths[0]), streams, strict=True)):
        try:
            runs = [span_run(video.timing, span, slack_rows) for span in places]
        except ValueError as error:
            raise FeaturesError(f"The video {video_id!r}: {error}") from error
        pooled = _pool(stream, video_id, video, runs)
        np.take(pooled, order, axis=0, out=joined[:, begin : begin + widths[stream]], mode="clip")
    return joined


def rows_beyond_end(timing: RowTiming, span: tuple[float, float]) -> int:
    """Return how many rows beyond the last one a span (start, end) in seconds begins; 0 or less when it has rows."""
    first, _ = span_rows(replace(timing, row_count=sys.maxsize), *span)
    return first - timing.row_count + 1


def rows_before_start(timing: RowTiming, span: tuple[float, float]) -> float:
    """Return how many rows before the first one a span (start, end) in seconds ends; 0 or less when it does not."""
    return (timing.start_seconds - span[1]) / timing.seconds_per_row


def span_run(timing: RowTiming, span: tuple[float, float], slack_rows: int = 0) -> tuple[int, int]:
    """Return the rows (first, stop) that `pool_spans` pools; raises ValueError for a span that is not one."""
    first, stop = span_rows(timing, *span)
    if first < stop or not slack_rows:
        return first, stop
    if (before := rows_before_start(timing, span)) > 0:
        return (0, 1) if before <= slack_rows else (0, 0)
    if rows_beyond_end(timing, span) <= slack_rows:
        return timing.row_count - 1, timing.row_count
    return first, stop


def pool_whole(source: FeatureSource, video_id: str) -> npt.NDArray[np.float32]:
    """Pool all undamaged rows of a video to (D2 + D3,) float32; raises FeaturesError."""
    videos = [source.video(stream, video_id) for stream in range(len(STREAMS))]
    return np.concatenate(
        [_pool(stream, video_id, video, [(0, len(video.rows))])[0] for stream, video in enumerate(videos)]
    )


def pool_groups(
    source: FeatureSource, video_id: str, groups: Sequence[Sequence[tuple[int, int]]]
) -> npt.NDArray[np.float32]:
    """Pool groups of runs of rows, one group per stream, to one (D2 + D3,) float32 vector.

    Damaged rows are skipped. Raises FeaturesError, also for a group of only damaged rows.
    """
    return np.concatenate(
        [_pool_group(stream, video_id, source.video(stream, video_id), runs) for stream, runs in enumerate(groups)]
    )


def _pool(stream: int, video_id: str, video: VideoRows, runs: Sequence[tuple[int, int]]) -> npt.NDArray[np.float32]:
    if video.damaged:
        return np.stack([_pool_group(stream, video_id, video, [run]) for run in runs])
    return _pool_rows(stream, video_id, video.rows, runs)


def _pool_group(
    stream: int, video_id: str, video: VideoRows, runs: Sequence[tuple[int, int]]
) -> npt.NDArray[np.float32]:
    """Pool all undamaged rows of several runs to one vector."""
    if only_damaged(runs, video.damaged, len(video.rows)):
        raise FeaturesError(
            f"All {STREAMS[stream]} rows of a part of the video {video_id!r} may show damaged pictures. Leave this "
            "part out, or use damaged rows (skip_damaged: false)."
        )
    kept = undamaged(runs, video.damaged, len(video.rows))
    rows = np.concatenate([video.rows[:0], *(video.rows[first:stop] for first, stop in kept)])
    pooled: npt.NDArray[np.float32] = _pool_rows(stream, video_id, rows, [(0, len(rows))])[0]
    return pooled


def _pool_rows(stream: int, video_id: str, rows: Floats, runs: Sequence[tuple[int, int]]) -> npt.NDArray[np.float32]:
    try:
        return pool_runs(rows, runs)
    except ValueError as error:
        raise FeaturesError(
            f"The {STREAMS[stream]} features of the video {video_id!r} cannot be used: {error}. Extract this video "
            "again, or leave it out."
        ) from error
