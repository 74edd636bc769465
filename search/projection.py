"""PCA of embeddings for an approximate index: centres them and projects them to the principal directions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reeldex.search.moment_table import Floats
from reeldex.storage.atomic import publish

_OVERSAMPLED = 32
_ITERATIONS = 8


@dataclass(frozen=True, eq=False)
class Projection:
    """Moments x become R (x - mean), queries q become R q.

    <q, x - mean> differs from <q, x> by the same number for every x, so that centring the moments alone leaves the
    ranking as it was. `matrix` is R, (d, D) with orthonormal rows, or None for no rotation; `mean` is (D,).
    """

    mean: Floats
    matrix: Floats | None

    @property
    def dim(self) -> int:
        """Dimension of a projected embedding."""
        return len(self.mean if self.matrix is None else self.matrix)

    def moments(self, embeddings: Floats) -> Floats:
        """Project (n, D) embeddings of moments to (n, d)."""
        centred = embeddings - self.mean
        return centred if self.matrix is None else np.ascontiguousarray(centred @ self.matrix.T)

    def queries(self, embeddings: Floats) -> Floats:
        """Project (n, D) embeddings of queries to (n, d)."""
        return embeddings if self.matrix is None else np.ascontiguousarray(embeddings @ self.matrix.T)

    def save(self, path: Path) -> None:
        """Publish as an .npz file."""
        with publish(path) as temporary, temporary.open("wb") as file:
            if self.matrix is None:
                np.savez(file, mean=self.mean)
            else:
                np.savez(file, mean=self.mean, matrix=self.matrix)

    @classmethod
    def load(cls, path: Path) -> Projection:
        """Undo `save`."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["mean"], arrays.get("matrix"))


def learn_projection(sample: Floats, dims: int) -> Projection:
    """Learn the projection that keeps most of the variance of a (n, D) sample; no rotation when `dims` is 0 or >= D.

    The leading principal directions by randomised subspace iteration (Halko, Martinsson and Tropp, Finding structure
    with randomness, 2011, algorithm 4.4), always from the same start: the same sample gives the same rotation.
    """
    mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    width = sample.shape[1]
    if not 0 < dims < width:
        return Projection(mean, None)
    centred = sample - mean
    basis = np.random.default_rng(0).standard_normal((width, min(width, dims + _OVERSAMPLED)), dtype=np.float32)
    for _ in range(_ITERATIONS):
        basis, _ = np.linalg.qr(centred.T @ (centred @ basis))
    within = centred @ basis
    _, directions = np.linalg.eigh((within.T @ within).astype(np.float64))
    # eigh sorts upwards.
    leading = basis @ directions[:, ::-1][:, :dims].astype(np.float32)
    return Projection(mean, np.ascontiguousarray(leading.T))
