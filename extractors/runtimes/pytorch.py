"""Networks computed by PyTorch on a CPU, in float32, without anything that makes them faster.

A GPU's networks are in `cuda.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from reeldex.devices import require_cuda
from reeldex.extractors.fingerprint import fingerprint
from reeldex.extractors.modules import load_module
from reeldex.extractors.options import NetworkOptions, Precision
from reeldex.extractors.preprocess import Normalisation
from reeldex.extractors.runtimes.network import ComputedRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reeldex.extractors.registry import ExtractorRecord
    from reeldex.extractors.spec import ExtractorSpec

# Rows per batch. Larger batches gain little, and each odd frame size costs padding.
_BATCH_ROWS = 2


class TorchNetwork:
    """A network computed by PyTorch on a CPU; see `Network`."""

    def __init__(
        self, spec: ExtractorSpec, module: nn.Module, *, batch_rows: int, space: str, weights_sha256: str
    ) -> None:
        self.spec = spec
        self.device = "cpu"
        self.runtime = f"torch {torch.__version__}"
        self.precision = Precision.FP32
        self.batch_rows = batch_rows
        self.batches_in_flight = 0
        self.space = space
        self.fingerprint: dict[str, Any] = fingerprint(spec, weights_sha256, Precision.FP32)
        self._module = module
        self._normalisation = Normalisation(spec)

    def new_batch(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return an array for a batch, not initialised."""
        return np.empty(shape, np.uint8)

    def raw_features(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (B, D) float32 features of (B, T, H, W, 3) uint8 clips, pooled but not normalised."""
        with torch.inference_mode():
            raw: NDArray[np.float32] = self._compute(clips).numpy()
        return raw

    def submit(self, clips: NDArray[np.uint8]) -> ComputedRows:
        """Compute the features of (B, T, H, W, 3) uint8 clips."""
        return ComputedRows(self.features(clips))

    def features(self, clips: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return (B, D) float16 features of (B, T, H, W, 3) uint8 clips, each row L2-normalised."""
        parts = [clips[start : start + self.batch_rows] for start in range(0, len(clips), self.batch_rows)]
        return np.concatenate([self._run(part) for part in parts])

    def _compute(self, clips: NDArray[np.uint8]) -> torch.Tensor:
        features: torch.Tensor = self._module(self._normalisation(torch.from_numpy(clips)))
        return features

    def _run(self, clips: NDArray[np.uint8]) -> NDArray[np.float16]:
        with torch.inference_mode():
            rows: NDArray[np.float16] = nn.functional.normalize(self._compute(clips), dim=1).half().numpy()
        return rows


def load(record: ExtractorRecord, options: NetworkOptions) -> TorchNetwork:
    """Return the network of a record on the CPU. Raises WeightsError or DeviceError."""
    if options.precision not in (Precision.AUTO, Precision.FP32):
        require_cuda(f"Precision {options.precision}", "cpu", "Use --precision fp32 or auto.")
    module, sha256 = load_module(record, options)
    return TorchNetwork(
        record.spec,
        module,
        batch_rows=options.batch_rows or _BATCH_ROWS,
        space=record.space(options.weights),
        weights_sha256=sha256,
    )
