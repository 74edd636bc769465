"""A network's PyTorch module with its weights: loaded strictly, without its classifier, BatchNorm folded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from reeldex.extractors import weights as weight_files
from reeldex.extractors.errors import WeightsError
from reeldex.extractors.file_hashes import sha256_of_file
from reeldex.extractors.options import NetworkOptions, WeightsChoice
from reeldex.extractors.random_weights_cache import cached_random_state

if TYPE_CHECKING:
    from pathlib import Path

    from reeldex.extractors.registry import ExtractorRecord


def load_module(record: ExtractorRecord, options: NetworkOptions) -> tuple[nn.Module, str]:
    """Return the network without its classifier, in evaluation mode, and the SHA-256 of its weights."""
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
    module.fc = nn.Identity()
    module.eval()
    fold_batch_norms(module)
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
