"""Loads an extractor's network with the runtime for its device."""

from __future__ import annotations

import functools
import importlib.util
import logging

from reeldex.devices import has_cuda, resolve_device
from reeldex.errors import DeviceError
from reeldex.extractors.options import NetworkOptions, Precision, Runtime
from reeldex.extractors.registry import extractor
from reeldex.extractors.runtimes.network import Network

__all__ = ["Network", "cached_network", "load_network"]

log = logging.getLogger(__name__)


def load_network(name: str, options: NetworkOptions) -> Network:
    """Load the extractor `name`. Raises UnknownExtractorError, InvalidExtractorError, WeightsError or DeviceError."""
    record = extractor(name)
    if _is_for_openvino(options):
        from reeldex.extractors.runtimes import openvino
        from reeldex.extractors.runtimes.converted import ConversionError

        try:
            return openvino.load(record, options)
        except ConversionError as error:
            if options.runtime is Runtime.OPENVINO:
                raise DeviceError(f"{error}. Use runtime torch.") from error
            log.warning("%s. Using PyTorch instead.", error)
    device = resolve_device(options.device)
    if device.type == "cuda":
        from reeldex.extractors.runtimes import cuda_loading

        return cuda_loading.load(record, options, device)
    from reeldex.extractors.runtimes import pytorch

    return pytorch.load(record, options)


@functools.lru_cache(maxsize=8)
def cached_network(name: str, options: NetworkOptions) -> Network:
    """Return what `load_network` returns, and keep it in memory for the next call of this process."""
    return load_network(name, options)


def _is_for_openvino(options: NetworkOptions) -> bool:
    """Whether to use OpenVINO for a network: on request, or by default on a CPU.

    Raises DeviceError for a request that cannot be satisfied.
    """
    installed = importlib.util.find_spec("openvino") is not None
    on_cpu = options.device == "cpu" or (options.device == "auto" and not has_cuda())
    if options.runtime is Runtime.AUTO:
        return installed and on_cpu and options.precision in (Precision.AUTO, Precision.FP32)
    if options.runtime is Runtime.TORCH:
        return False
    if not installed:
        raise DeviceError("The runtime openvino is not installed. Install the package openvino, or use runtime torch.")
    if not on_cpu:
        raise DeviceError(f"The runtime openvino supports only the CPU, not {options.device}. Use runtime torch.")
    if options.precision not in (Precision.AUTO, Precision.FP32):
        raise DeviceError(f"Precision {options.precision} needs a CUDA device, but this run uses the CPU. Use fp32.")
    return True
