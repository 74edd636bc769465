"""Normalises pooled vectors and joins those of both streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

_SMALLEST_NORM = 1e-12  # as in torch.nn.functional.normalize; a row of zeros stays zero


def normalise(vectors: Floats) -> npt.NDArray[np.float32]:
    """Scale the last axis to the L2 norm 1; (..., D) in any float, (..., D) float32 out. Zeros stay zeros."""
    wide = np.asarray(vectors, dtype=np.float32)
    norms = np.sqrt(np.einsum("...d,...d->...", wide, wide))[..., np.newaxis]
    result: npt.NDArray[np.float32] = wide / np.maximum(norms, np.float32(_SMALLEST_NORM))
    return result


def join_streams(streams: Sequence[Floats]) -> npt.NDArray[np.float32]:
    """Concatenate the pooled vectors of several streams, 2-D before 3-D: (..., D1 + D2) float32.

    Each is normalised by itself first, so that the joined vector has the norm sqrt(number of streams).
    """
    if not streams:
        raise ValueError("There is nothing to join: no stream of features was given.")
    return np.concatenate([normalise(stream) for stream in streams], axis=-1)
