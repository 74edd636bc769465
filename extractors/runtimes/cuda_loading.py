"""Loads a network on a CUDA device, and chooses its precision by measurement."""

from __future__ import annotations

import contextlib
import copy
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import fx, nn

from reeldex.extractors import other_networks
from reeldex.extractors.errors import InvalidExtractorError
from reeldex.extractors.modules import load_module
from reeldex.extractors.options import NetworkOptions, Precision
from reeldex.extractors.preprocess import Normalisation
from reeldex.extractors.registry import HOWTO100M_EXTRACTORS
from reeldex.extractors.runtimes.cuda import CudaNetwork, arithmetic
from reeldex.extractors.runtimes.fused import fused
from reeldex.extractors.runtimes.network import LEAST_COSINE, least_cosine, probe_clips

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from reeldex.extractors.registry import ExtractorRecord
    from reeldex.extractors.spec import ExtractorSpec

log = logging.getLogger(__name__)

_BATCH_ROWS = 64
# Below it a rewritten network is not the same function.
_LEAST_REWRITTEN_COSINE = 0.99
# A precision that is not faster than an earlier one by this factor is not preferred to it: rows of one machine should
# not depend on small differences between two measurements.
_LEAST_GAIN = 1.1

_DTYPES = {
    Precision.FP16: torch.float16,
    Precision.BF16: torch.bfloat16,
    Precision.TF32: torch.float32,
    Precision.FP32: torch.float32,
}


@dataclass(frozen=True)
class Measured:
    """A precision on a device: rows per second, and the smallest cosine of its features to those of float32."""

    precision: Precision
    rows_per_second: float
    cosine: float

    def __str__(self) -> str:
        return f"{self.precision} {self.rows_per_second:,.0f} rows/s (cosine {self.cosine:.6f})"


def load(record: ExtractorRecord, options: NetworkOptions, device: torch.device) -> CudaNetwork:
    """Return the network of a record on a CUDA device.

    With precision AUTO, that is the fastest one whose features stay within cosine 0.9999 of those of float32. Raises
    WeightsError, and InvalidExtractorError for a network of another package that cannot be computed on the device.
    """
    module, sha256 = load_module(record, options)
    device = torch.device("cuda", device.index or 0)
    # Triton launches kernels on the current device.
    with torch.cuda.device(device):
        module.to(device)

        def on_device(precision: Precision) -> CudaNetwork:
            computed, kernels = prepared(module, record.spec, precision)
            return CudaNetwork(
                record.spec,
                computed,
                device=device,
                precision=precision,
                dtype=_DTYPES[precision],
                batch_rows=options.batch_rows or _BATCH_ROWS,
                space=record.space(options.weights),
                weights_sha256=sha256,
                kernels=kernels,
            )

        if options.precision is Precision.AUTO:
            return _measured_best(on_device, record, options, device)
        with _reported(record.spec, options.precision, device):
            network = on_device(options.precision)
            if _is_other(record.spec):
                network.features(probe_clips(record.spec))
        return network


def _is_other(spec: ExtractorSpec) -> bool:
    return spec.name not in HOWTO100M_EXTRACTORS


def _reported(
    spec: ExtractorSpec, precision: Precision, device: torch.device
) -> contextlib.AbstractContextManager[None]:
    """Report what another package's network raises as InvalidExtractorError."""
    if not _is_other(spec):
        return contextlib.nullcontext()
    remedy = "Give constants in its `forward` the type and the device of its input"
    remedy += "." if precision is Precision.FP32 else ", or use precision fp32."
    return other_networks.computing(spec, f"in {precision} on {device}", remedy)


def _measured_best(
    on_device: Callable[[Precision], CudaNetwork],
    record: ExtractorRecord,
    options: NetworkOptions,
    device: torch.device,
) -> CudaNetwork:
    clips = probe_clips(record.spec)
    with _reported(record.spec, Precision.FP32, device):
        exact = on_device(Precision.FP32).features(clips)
    networks, measured = {}, []
    for precision in _DTYPES:
        if precision is Precision.BF16 and not torch.cuda.is_bf16_supported(including_emulation=False):
            continue
        try:
            with _reported(record.spec, precision, device):
                network = on_device(precision)
                cosine = least_cosine(exact, network.features(clips))
                found = Measured(precision, _rows_per_second(network, clips), cosine)
        except InvalidExtractorError as error:
            if precision is Precision.FP32:
                raise
            log.warning("%s This precision is left out.", error)
            continue
        networks[precision] = network
        measured.append(found)
    chosen = networks[fastest(measured)]
    log.info(
        "%s computes in %s on %s. Measured: %s.",
        record.space(options.weights),
        chosen.precision,
        chosen.device,
        ", ".join(
            f"{each.precision} {each.rows_per_second:,.0f} rows/s (cosine {each.cosine:.6f})" for each in measured
        ),
    )
    # The others' memory is for batches.
    networks.clear()
    del network
    torch.cuda.empty_cache()
    return chosen


def fastest(measured: Sequence[Measured]) -> Precision:
    """Return the fastest precision that is accurate enough, an earlier one if it is about as fast."""
    accurate = [each for each in measured if each.cosine >= LEAST_COSINE]
    if not accurate:  # damaged weights: their rows are NaN, which the engine reports for each video
        return Precision.FP32
    best = accurate[0]
    for each in accurate[1:]:
        if each.rows_per_second > _LEAST_GAIN * best.rows_per_second:
            best = each
    return best.precision


def prepared(module: nn.Module, spec: ExtractorSpec, precision: Precision) -> tuple[nn.Module, str]:
    """Return a module that computes in `precision`, and which kernels it uses, "" for PyTorch's own."""
    dtype = _DTYPES[precision]
    if dtype is torch.float32:
        return module, ""
    try:
        fx.symbolic_trace(module)
    # Whatever the network's own code raises when its input is a placeholder.
    except Exception as error:  # noqa: BLE001
        log.warning("%s: its network cannot be rewritten (%s), so that it is slower.", spec.name, _short(error))
        return copy.deepcopy(module).to(dtype), ""
    for triton_kernel, kernels in ((True, "fused, Triton"), (False, "fused, cuDNN")):
        try:
            rewritten = fused(module, dtype, triton_kernel=triton_kernel)
            _require_same(rewritten, module, spec, precision)
        except torch.OutOfMemoryError:
            raise
        # Whatever a compiler, Triton or cuDNN raises: the network still works without it, only slower.
        except Exception as error:  # noqa: BLE001
            log.warning(
                "%s: the kernels %r cannot be used on this machine (%s), so that it is slower.",
                spec.name,
                kernels,
                _short(error),
            )
        else:
            return rewritten, kernels
    return copy.deepcopy(module).to(dtype), ""


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _require_same(rewritten: nn.Module, module: nn.Module, spec: ExtractorSpec, precision: Precision) -> None:
    """Raise ValueError if a rewritten network computes something else than `module`, beyond rounding."""
    device = next(module.parameters()).device
    clips = Normalisation(spec, device)(torch.from_numpy(probe_clips(spec)).to(device))
    with torch.inference_mode(), arithmetic(precision):
        expected = module(clips).float().flatten(1)
        found = rewritten(clips.to(_DTYPES[precision])).float().flatten(1)
    cosine = float(nn.functional.cosine_similarity(found, expected, dim=1).min())
    if cosine < _LEAST_REWRITTEN_COSINE:
        raise ValueError(f"features have only cosine {cosine:.6f} to those of the network itself")


def _rows_per_second(network: CudaNetwork, clips: NDArray[np.uint8]) -> float:
    """Measure batches of full size, after one that finds out whether they fit into the memory."""
    network.features(np.resize(clips, (network.batch_rows, *clips.shape[1:])))
    # It may have been halved.
    batch = np.resize(clips, (network.batch_rows, *clips.shape[1:]))
    times = []
    for _ in range(3):
        started = time.perf_counter()
        network.features(batch)
        times.append(time.perf_counter() - started)
    return len(batch) / min(times)
