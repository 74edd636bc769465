"""Batch normalisations folded into the convolutions before them: the same features with less work."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold_batch_norms(module: nn.Module) -> None:
    """Fold each BatchNorm that directly follows a convolution into it, in place, for evaluation only.

    "Follows" refers to the order in which a module registers its children: that of computation in the networks of this
    package.
    """
    previous: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if (
            previous is not None
            and isinstance(previous[1], (nn.Conv2d, nn.Conv3d))
            and isinstance(child, (nn.BatchNorm2d, nn.BatchNorm3d))
            and previous[1].out_channels == child.num_features
            and child.running_mean is not None
        ):
            _fold(previous[1], child)
            setattr(module, name, nn.Identity())
        else:
            fold_batch_norms(child)
        previous = (name, child)


def _fold(convolution: nn.Conv2d | nn.Conv3d, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> None:
    """Fold a normalisation into its convolution, in place; PyTorch's `fuse_conv_bn_eval` copies all weights first."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None  # noqa: S101 - `fold_batch_norms` requires it
    assert variance is not None  # noqa: S101
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, mean, variance, norm.eps, norm.weight, norm.bias
    )
