"""Networks computed by PyTorch, on a CPU or a CUDA device."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from reeldex.devices import require_cuda
from reeldex.extractors.fingerprint import fingerprint
from reeldex.extractors.modules import load_module
from reeldex.extractors.options import NetworkOptions, Precision
from reeldex.extractors.preprocess import normalise
from reeldex.extractors.runtimes.network import ComputedRows, least_cosine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reeldex.extractors.registry import ExtractorRecord
    from reeldex.extractors.spec import ExtractorSpec

log = logging.getLogger(__name__)

# Rows per batch. On a CPU larger batches gain little, and each odd frame size costs padding; a GPU needs many rows.
_CPU_BATCH_ROWS = 2
_CUDA_BATCH_ROWS = 64
# Half precision is accepted only if its features have at least this cosine to those of float32.
_LEAST_COSINE = 0.9999

_DTYPES = {
    Precision.FP32: torch.float32,
    Precision.FP16: torch.float16,
    Precision.BF16: torch.bfloat16,
}


class TorchNetwork:
    """A network computed by PyTorch; see `Network`."""

    def __init__(  # noqa: PLR0913 - the parts that `load` assembles
        self,
        spec: ExtractorSpec,
        module: nn.Module,
        *,
        device: torch.device,
        precision: Precision,
        batch_rows: int,
        space: str,
        weights_sha256: str,
    ) -> None:
        self.spec = spec
        self.device = str(device)
        self.runtime = f"torch {torch.__version__}"
        self.precision = precision
        self.batch_rows = batch_rows
        self.batches_in_flight = 0
        self.space = space
        self.fingerprint: dict[str, Any] = fingerprint(spec, weights_sha256, precision)
        self._dtype = _DTYPES[precision]
        self._module = module.to(device=device, dtype=self._dtype)

    def raw_features(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (B, D) float32 features of (B, T, H, W, 3) uint8 clips, pooled but not normalised."""
        with torch.inference_mode():
            raw: NDArray[np.float32] = self._compute(clips).cpu().numpy()
        return raw

    def submit(self, clips: NDArray[np.uint8]) -> ComputedRows:
        """Compute the features of (B, T, H, W, 3) uint8 clips."""
        return ComputedRows(self.features(clips))

    def features(self, clips: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return (B, D) float16 features of (B, T, H, W, 3) uint8 clips, each row L2-normalised.

        A batch too large for the device's memory is halved, and so are later batches.
        """
        done: list[NDArray[np.float16]] = []
        while (start := sum(map(len, done))) < len(clips):
            part = clips[start : start + self.batch_rows]
            try:
                done.append(self._run(part))
                continue
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
            # Outside of the handler, whose exception would keep the failed attempt's memory alive.
            self.batch_rows = len(part) // 2
            torch.cuda.empty_cache()
            log.warning(
                "%s: %d clips do not fit into the memory of %s; continuing with %d at a time.",
                self.space,
                len(part),
                self.device,
                self.batch_rows,
            )
        return np.concatenate(done)

    def _compute(self, clips: NDArray[np.uint8]) -> torch.Tensor:
        on_device = torch.from_numpy(clips).to(self.device)
        features: torch.Tensor = self._module(normalise(on_device, self.spec).to(self._dtype))
        return features.float()

    def _run(self, clips: NDArray[np.uint8]) -> NDArray[np.float16]:
        with torch.inference_mode():
            features = nn.functional.normalize(self._compute(clips), dim=1)
            rows: NDArray[np.float16] = features.half().cpu().numpy()
        return rows


def load(record: ExtractorRecord, options: NetworkOptions, device: torch.device) -> TorchNetwork:
    """Return the network of a record on a device. Raises WeightsError or DeviceError."""
    module, sha256 = load_module(record, options)

    def on_device(precision: Precision) -> TorchNetwork:
        return TorchNetwork(
            record.spec,
            module,
            device=device,
            precision=precision,
            batch_rows=options.batch_rows or (_CUDA_BATCH_ROWS if device.type == "cuda" else _CPU_BATCH_ROWS),
            space=record.space(options.weights),
            weights_sha256=sha256,
        )

    if options.precision in (Precision.FP16, Precision.BF16):
        require_cuda(f"Precision {options.precision}", str(device), "Use --precision fp32 or auto.")
    if options.precision is not Precision.AUTO:
        return on_device(options.precision)
    if device.type != "cuda":
        return on_device(Precision.FP32)
    # The module is one object: float32 must come first, before its weights are rounded.
    probe_clips = _probe_clips(record.spec)
    exact = on_device(Precision.FP32).features(probe_clips)
    half = on_device(Precision.FP16)
    cosine = least_cosine(exact, half.features(probe_clips))
    if cosine >= _LEAST_COSINE:
        return half
    log.warning("%s: half precision has only cosine %.6f to float32; using float32.", half.space, cosine)
    module, _ = load_module(record, options)
    return on_device(Precision.FP32)


def _probe_clips(spec: ExtractorSpec) -> NDArray[np.uint8]:
    """Return clips (4, T, H, W, 3) uint8, noise of four grain sizes, on which two precisions are compared."""
    height, width = spec.input_size(240, 320)
    generator = np.random.Generator(np.random.PCG64(0))
    clips = []
    for grain in (1, 4, 16, 64):
        coarse = generator.integers(
            0, 256, (spec.frames_per_clip, -(-height // grain), -(-width // grain), 3), np.uint8
        )
        clips.append(coarse.repeat(grain, axis=1).repeat(grain, axis=2)[:, :height, :width])
    return np.stack(clips)
