"""From a video's feature rows to the one vector that stands for a span of it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

_SMALLEST_NORM = 1e-12  # torch.nn.functional.normalize's; a row of zeros stays one of zeros


def span_rows(start_seconds: float, end_seconds: float, rows_per_second: float) -> tuple[int, int]:
    """Give (first, stop) of the rows of a span: int(s * r) up to and including int(e * r).

    Not clipped: a slice of an array ends where the array does. Raises ValueError for spans that are negative,
    inverted or not finite, and for rates that are not positive.
    """
    if not (math.isfinite(start_seconds) and math.isfinite(end_seconds) and 0 <= start_seconds <= end_seconds):
        raise ValueError(f"A span needs 0 <= start <= end, both finite; got {start_seconds} to {end_seconds} seconds.")
    if not (math.isfinite(rows_per_second) and rows_per_second > 0):
        raise ValueError(f"Rows a second must be finite and above 0, not {rows_per_second}.")
    return int(start_seconds * rows_per_second), int(end_seconds * rows_per_second) + 1


def normalise(vectors: Floats) -> npt.NDArray[np.float32]:
    """Scale the last axis to the L2 norm 1; (..., D) in any float, (..., D) float32 out. Zeros stay zeros."""
    wide = np.asarray(vectors, dtype=np.float32)
    norms = np.sqrt(np.einsum("...d,...d->...", wide, wide))[..., np.newaxis]
    result: npt.NDArray[np.float32] = wide / np.maximum(norms, np.float32(_SMALLEST_NORM))
    return result


def pool_rows(rows: Floats) -> npt.NDArray[np.float32]:
    """Take the element-wise maximum of (n, D) rows and normalise it to (D,) float32; zeros when n is 0."""
    if rows.ndim != 2:
        raise ValueError(f"Rows of features are (n, D), not {rows.shape}.")
    if not len(rows):
        return np.zeros(rows.shape[1], dtype=np.float32)
    return normalise(rows.max(axis=0))


def pool_span(
    rows: Floats, start_seconds: float, end_seconds: float, rows_per_second: float
) -> npt.NDArray[np.float32]:
    """Pool the rows of a span of a whole video's (R, D) features to (D,) float32; zeros beyond its end."""
    first, stop = span_rows(start_seconds, end_seconds, rows_per_second)
    return pool_rows(rows[first:stop])


def join_streams(streams: Sequence[Floats]) -> npt.NDArray[np.float32]:
    """Put the pooled vectors of several streams, 2-D before 3-D, one after the other: (..., D1 + D2) float32.

    Each is normalised by itself first, so that the joined vector has the norm sqrt(number of streams).
    """
    if not streams:
        raise ValueError("There is nothing to join: no stream of features was given.")
    return np.concatenate([normalise(stream) for stream in streams], axis=-1)
