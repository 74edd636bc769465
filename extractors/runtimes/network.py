"""The interface between the engine and a runtime's network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from reeldex.extractors.options import Precision
    from reeldex.extractors.spec import ExtractorSpec

LEAST_COSINE = 0.9999
"""Features of another precision or runtime have at least this cosine to those of float32, or they are not used."""

# As in torch.nn.functional.normalize: the divisor of a row of zeros.
_LEAST_NORM = 1e-12


class PendingRows(Protocol):
    """The rows of a batch that was submitted to a network."""

    def wait(self) -> NDArray[np.float16]:
        """Return (B, D) float16 features, each row L2-normalised, once they are computed."""

    def discard(self) -> None:
        """Give up the rows: every batch that was submitted is either waited for or discarded."""


class Network(Protocol):
    """One extractor's network on one device.

    - `device`: `cpu` or `cuda:N`; `runtime`: name and version of the library that computes it.
    - `batch_rows`: clips per batch; `batches_in_flight`: batches to submit before waiting for the first one's rows.
    - `space`: the feature space's name; `fingerprint`: everything that defines its values, as JSON values.
    """

    spec: ExtractorSpec
    space: str
    device: str
    runtime: str
    precision: Precision
    fingerprint: dict[str, Any]
    batch_rows: int
    batches_in_flight: int

    def new_batch(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return an array for a batch, not initialised, in the kind of memory from which it is computed fastest."""

    def raw_features(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (B, D) float32 features of (B, T, H, W, 3) uint8 clips, pooled but not normalised."""

    def submit(self, clips: NDArray[np.uint8]) -> PendingRows:
        """Start computing the features of (B, T, H, W, 3) uint8 clips, which must not be modified afterwards.

        More than `batches_in_flight` may be submitted, also by several threads; they are computed one after the other.
        """

    def features(self, clips: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return (B, D) float16 features of (B, T, H, W, 3) uint8 clips, each row L2-normalised."""


@dataclass(frozen=True)
class ComputedRows:
    """Rows (B, D) float16 that are already computed."""

    rows: NDArray[np.float16]

    def wait(self) -> NDArray[np.float16]:
        """Return the rows."""
        return self.rows

    def discard(self) -> None:
        """Do nothing: nothing is held for them."""


def normalised(raw: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return (B, D) float32 rows divided by their L2 norms, as float16."""
    norms = np.sqrt(np.einsum("bd,bd->b", raw, raw, optimize=False))
    rows: NDArray[np.float16] = (raw / np.maximum(norms, _LEAST_NORM)[:, None]).astype(np.float16)
    return rows


def probe_clips(spec: ExtractorSpec, height: int = 240, width: int = 320) -> NDArray[np.uint8]:
    """Return clips (4, T, H, W, 3) uint8 as of a video of that size, noise of four grain sizes, for comparisons."""
    height, width = spec.input_size(height, width)
    generator = np.random.Generator(np.random.PCG64(0))
    clips = []
    for grain in (1, 4, 16, 64):
        coarse = generator.integers(
            0, 256, (spec.frames_per_clip, -(-height // grain), -(-width // grain), 3), np.uint8
        )
        clips.append(coarse.repeat(grain, axis=1).repeat(grain, axis=2)[:, :height, :width])
    return np.stack(clips)


def least_cosine(first: NDArray[np.float16], second: NDArray[np.float16]) -> float:
    """Return the smallest cosine between rows of the same index of two (R, D) arrays."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    # Two rows of zeros are equal.
    both_zero = ~a.any(axis=1) & ~b.any(axis=1)
    with np.errstate(invalid="ignore"):
        return float(np.where(both_zero, 1.0, (a * b).sum(axis=1) / norms).min())
