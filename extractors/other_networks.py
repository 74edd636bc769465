"""Networks of other packages: built and checked before their features are used; errors state the reason."""

from __future__ import annotations

import contextlib
import copy
import logging
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from reeldex.extractors.batch_norms import fold_batch_norms
from reeldex.extractors.errors import MACHINE_ERRNOS, InvalidExtractorError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reeldex.extractors.registry import ExtractorRecord
    from reeldex.extractors.spec import ExtractorSpec

log = logging.getLogger(__name__)

# Of the norm of the features. Rounding causes about 1e-6; another order of computation, some tenths.
_MOST_DIFFERENCE = 1e-3
# What cuBLAS and cuDNN fail with, and what they say of a computation that they do not offer: a fault of the network.
_LIBRARY_FAULTS = ("CUDA error", "CUDA driver error", "cuDNN error")
_UNSUITABLE = ("NOT_SUPPORTED", "BAD_PARAM", "INVALID_VALUE")


def built(record: ExtractorRecord) -> nn.Module:
    """Return the network of a record, without weights, on the device `meta`.

    Raises InvalidExtractorError if it cannot be built, has no classifier `fc`, or state that weights cannot give.
    """
    name = record.spec.name
    try:
        with torch.device("meta"):
            module = record.build()
    except Exception as error:  # noqa: BLE001 - code of another package: it is raised again
        _refuse(
            error,
            f"The network of {name} cannot be built ({type(error).__name__}: {error}). Correct its package, or install "
            'what it imports. It is built under `torch.device("meta")`, where tensors have no values.',
        )
    if not isinstance(module, nn.Module) or not isinstance(getattr(module, "fc", None), nn.Module):
        raise InvalidExtractorError(
            f"The network of {name}, {type(module).__name__}, is no PyTorch module with a classifier named `fc`, whose "
            "input its features would be. Give it one in `build`; `fc = nn.Identity()` for a network without a "
            "classifier."
        )
    saved = module.state_dict()
    if odd := [each for each, value in saved.items() if not isinstance(value, torch.Tensor) or is_lazy(value)]:
        raise InvalidExtractorError(
            f"The network of {name} has state that is no tensor of a fixed shape: {', '.join(odd)}. Give each "
            "parameter its shape in `build`."
        )
    if lacking := [each for each, value in module.named_buffers() if each not in saved and value.is_meta]:
        raise InvalidExtractorError(
            f"The network of {name} computes {', '.join(lacking)} while it is built. Register each as a buffer that is "
            "saved (persistent), or compute it in `forward`: `build` makes no values."
        )
    return module


def folded(module: nn.Module, spec: ExtractorSpec) -> nn.Module:
    """Return a module with each BatchNorm folded; as it is, if that would compute something else.

    Children may be registered in another order than that of computation, so that both modules are compared. Raises
    InvalidExtractorError if the module does not compute what its spec says.
    """
    short = spec.short_side_pixels
    sides = [(short, short)] if spec.centre_crop else [(short, short), (short, short + short // 2)]
    frames = (spec.frames_per_clip,) if spec.frames_per_clip > 1 else ()
    noise = torch.Generator().manual_seed(0)
    batches = [torch.randn(2, 3, *frames, *each, generator=noise) for each in sides]
    wanted = [features(module, batch, spec) for batch in batches]
    if not all(each.isfinite().all() for each in wanted):
        return module  # damaged weights, which the engine reports for each video
    try:
        without = copy.deepcopy(module)
        fold_batch_norms(without)
        found = [features(without, batch, spec) for batch in batches]
        if all((a - b).norm() <= _MOST_DIFFERENCE * a.norm() for a, b in zip(wanted, found, strict=True)):
            return without
    except Exception as error:
        if _is_of_machine(error):
            raise
        log.info("%s cannot be computed without its BatchNorms: %s", spec.name, error)
    log.info("The BatchNorms of %s are not folded into its convolutions", spec.name)
    return module


def features(module: nn.Module, batch: torch.Tensor, spec: ExtractorSpec) -> torch.Tensor:
    """Return the features (B, feature_dim) float32 of normalised clips (B, 3, H, W) or (B, 3, T, H, W) float32.

    Raises InvalidExtractorError if the module cannot compute them, or returns another shape.
    """
    remedy = "Its spec says that such clips are its input; correct one of them."
    with computing(spec, f"a batch of {tuple(batch.shape)} on the CPU", remedy), torch.inference_mode():
        computed = module(batch)
    shape = tuple(computed.shape) if isinstance(computed, torch.Tensor) else type(computed).__name__
    if not isinstance(computed, torch.Tensor) or shape != (len(batch), spec.feature_dim):
        raise InvalidExtractorError(
            f"The network of {spec.name} returns {shape} for a batch of {len(batch)}, not "
            f"{(len(batch), spec.feature_dim)}: pool its features before `fc`, and correct `feature_dim` of its spec."
        )
    return computed


@contextlib.contextmanager
def computing(spec: ExtractorSpec, what: str, remedy: str) -> Iterator[None]:
    """Report an error of a network that computes `what` as InvalidExtractorError; a fault of the machine as it is.

    The message ends with `remedy`, one or more sentences.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - code of another package: it is raised again
        said = next(iter(str(error).splitlines()), "")
        _refuse(error, f"The network of {spec.name} cannot compute {what} ({type(error).__name__}: {said}). {remedy}")


def _refuse(error: Exception, message: str) -> NoReturn:
    """Raise an error of a network as InvalidExtractorError; a fault of the machine as it is."""
    if _is_of_machine(error):
        raise error
    raise InvalidExtractorError(message) from error


def _is_of_machine(error: Exception) -> bool:
    # PyTorch reports memory that it cannot have as a RuntimeError, and so it does what cuBLAS and cuDNN report.
    said = str(error)
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError | torch.AcceleratorError)
        or "allocate memory" in said
        or (any(each in said for each in _LIBRARY_FAULTS) and not any(each in said for each in _UNSUITABLE))
        or (isinstance(error, OSError) and error.errno in MACHINE_ERRNOS)
    )
