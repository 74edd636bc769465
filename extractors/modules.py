"""A network's PyTorch module with its weights: loaded strictly, without its classifier, BatchNorm folded."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from reeldex.extractors import weights as weight_files
from reeldex.extractors.errors import InvalidExtractorError, WeightsError
from reeldex.extractors.file_hashes import sha256_of_file
from reeldex.extractors.options import NetworkOptions, WeightsChoice
from reeldex.extractors.random_weights_cache import cached_random_state
from reeldex.extractors.registry import HOWTO100M_EXTRACTORS

if TYPE_CHECKING:
    from pathlib import Path

    from reeldex.extractors.registry import ExtractorRecord
    from reeldex.extractors.spec import ExtractorSpec

log = logging.getLogger(__name__)

# Of the norm of the features. Rounding causes about 1e-6; another order of computation, some tenths.
_MOST_DIFFERENCE = 1e-3


def load_module(record: ExtractorRecord, options: NetworkOptions) -> tuple[nn.Module, str]:
    """Return the network without its classifier, in evaluation mode, and the SHA-256 of its weights.

    Raises WeightsError, and InvalidExtractorError for a network of another package that is not as its record says.
    """
    with torch.device("meta"):  # initial values would be overwritten
        module = record.build()
    if options.weights is WeightsChoice.RANDOM:
        shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
        state, sha256 = cached_random_state(
            record.spec.name, shapes, record.branch_gain_suffixes, options.weights_folder
        )
    else:
        path = weight_files.find_or_fetch(record.pretrained, options.weights_file, options.weights_folder)
        loaded = weight_files.load_state(path)
        state = {record.own_name(name): value.float() for name, value in loaded.items()}
        sha256 = sha256_of_file(path)
        _require_fit(module, state, path)
    module.load_state_dict(state, strict=True, assign=True)
    if lacking := [name for name, buffer in module.named_buffers() if buffer.is_meta]:
        raise InvalidExtractorError(
            f"The network of {record.spec.name} computes {', '.join(lacking)} while it is built. Register each as a "
            "buffer that is saved (persistent), or compute it in `forward`: `build` makes no values."
        )
    if not isinstance(getattr(module, "fc", None), nn.Module):
        raise InvalidExtractorError(
            f"The network of {record.spec.name} has no classifier named `fc`, whose input its features would be. Give "
            "it one in `build`; `fc = nn.Identity()` for a network without a classifier."
        )
    module.fc = nn.Identity()
    module.eval()
    module = _folded(module, record.spec)
    channels_last = torch.channels_last if record.spec.frames_per_clip == 1 else torch.channels_last_3d
    module.to(memory_format=channels_last)
    return module, sha256


def _require_fit(module: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    wanted = module.state_dict()
    faults = [f"{name} is missing" for name in wanted if name not in state]
    faults += [f"{name} is unknown" for name in state if name not in wanted]
    faults += [
        f"{name} is {tuple(state[name].shape)} instead of {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    if faults:
        raise WeightsError(
            f"The weights in {path} do not match the network: {'; '.join(faults[:5])}"
            f"{f' and {len(faults) - 5} more' if len(faults) > 5 else ''}. Give a checkpoint of this network."
        )


def _folded(module: nn.Module, spec: ExtractorSpec) -> nn.Module:
    """Return the module with each BatchNorm folded; as it is, if that would compute something else.

    In the networks of this package, children are registered in the order of computation. In those of other packages
    they may not be, so that both modules are compared. Raises InvalidExtractorError for features of another shape.
    """
    if spec.name in HOWTO100M_EXTRACTORS:
        fold_batch_norms(module)
        return module
    folded = copy.deepcopy(module)
    fold_batch_norms(folded)
    frames = (spec.frames_per_clip,) if spec.frames_per_clip > 1 else ()
    noise = torch.Generator().manual_seed(0)
    clips = torch.randn(2, 3, *frames, spec.short_side_pixels, spec.short_side_pixels, generator=noise)
    try:
        with torch.inference_mode():
            wanted, found = module(clips), folded(clips)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise InvalidExtractorError(
            f"The network of {spec.name} cannot compute a batch of {tuple(clips.shape)}: {error}. Its spec says that "
            "such clips are its input; correct the spec or the network."
        ) from error
    shape = tuple(wanted.shape) if isinstance(wanted, torch.Tensor) else type(wanted).__name__
    if shape != (len(clips), spec.feature_dim):
        raise InvalidExtractorError(
            f"The network of {spec.name} returns {shape} for a batch of {len(clips)}, not "
            f"{(len(clips), spec.feature_dim)}: pool its features before `fc`, and correct `feature_dim` of its spec."
        )
    if (wanted - found).norm() <= _MOST_DIFFERENCE * wanted.norm():
        return folded
    log.info("The BatchNorms of %s do not follow their convolutions, and are not folded into them", spec.name)
    return module


def fold_batch_norms(module: nn.Module) -> None:
    """Fold each BatchNorm that directly follows a convolution into it, in place, for evaluation only.

    "Follows" refers to the order in which a module registers its children, which for these networks is
    the order of computation.
    """
    previous: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if (
            previous is not None
            and isinstance(previous[1], (nn.Conv2d, nn.Conv3d))
            and isinstance(child, (nn.BatchNorm2d, nn.BatchNorm3d))
            and previous[1].out_channels == child.num_features
        ):
            _fold(previous[1], child)
            setattr(module, name, nn.Identity())
        else:
            fold_batch_norms(child)
        previous = (name, child)


def _fold(convolution: nn.Conv2d | nn.Conv3d, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> None:
    """Fold a normalisation into its convolution, in place; PyTorch's `fuse_conv_bn_eval` copies all weights first."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None  # noqa: S101 - the networks here track statistics
    assert variance is not None  # noqa: S101
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, mean, variance, norm.eps, norm.weight, norm.bias
    )
