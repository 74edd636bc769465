"""The obvious twin of `embedding.block_pooling`: one run or span at a time, without a thought for speed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reeldex.embedding.pooling import Floats, normalise


def pool_rows(rows: Floats) -> npt.NDArray[np.float32]:
    """Take the element-wise maximum of (n, D) rows and normalise it to (D,) float32; zeros when n is 0."""
    return normalise(rows.max(axis=0)) if len(rows) else np.zeros(rows.shape[1], dtype=np.float32)


def pool_span(
    rows: Floats, start_seconds: float, end_seconds: float, rows_per_second: float
) -> npt.NDArray[np.float32]:
    """Pool rows int(s * r) up to and including int(e * r) of (R, D) rows to (D,) float32; zeros beyond their end."""
    return pool_rows(rows[int(start_seconds * rows_per_second) : int(end_seconds * rows_per_second) + 1])
