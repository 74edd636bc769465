"""Rewrites a network for half precision on CUDA: each convolution with its bias, addition and ReLU in one kernel.

Computed one after the other, these take more time than ResNet-152's convolutions, since each reads and writes all
activations. The rewritten network has the same weights and computes the same function. It needs no compilation, so that
a shape's bytes do not depend on whether it has been compiled.
"""

from __future__ import annotations

import copy
import operator
from typing import TYPE_CHECKING, cast

import torch
from torch import fx, nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

_ADDITIONS = (operator.add, operator.iadd, torch.add)
# A first convolution over few channels wastes tensor cores; its frames are stacked in the channels instead.
_FEW_CHANNELS = 8
_CHANNEL_MULTIPLE = 8


def fused(module: nn.Module, dtype: torch.dtype, *, triton_kernel: bool = True) -> nn.Module:
    """Return the rewritten network: the same input (in `dtype`, channels-last) and the same output.

    `triton_kernel` is whether convolutions use the Triton kernel where it fits. The module itself is not changed.
    Raises fx.proxy.TraceError or TypeError for a network whose computation depends on its input.
    """
    traced = fx.symbolic_trace(copy.deepcopy(module))
    graph = traced.graph
    for node in list(graph.nodes):
        if _calls(traced, node, nn.Identity):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    for node in list(graph.nodes):
        if _calls(traced, node, (nn.Conv2d, nn.Conv3d)):
            _fuse(traced, node, dtype, triton_kernel=triton_kernel)
    graph.lint()
    traced.recompile()
    traced.delete_all_unused_submodules()
    return traced.to(dtype)


def _calls(traced: fx.GraphModule, node: fx.Node, kinds: type[nn.Module] | tuple[type[nn.Module], ...]) -> bool:
    return node.op == "call_module" and isinstance(traced.get_submodule(str(node.target)), kinds)


def _only_user(node: fx.Node) -> fx.Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 else None


def _is_plain(addition: fx.Node) -> bool:
    # Not one with a factor: torch.add(x, y, alpha=2).
    return len(addition.args) == 2 and not addition.kwargs


def _fuse(traced: fx.GraphModule, node: fx.Node, dtype: torch.dtype, *, triton_kernel: bool) -> None:
    """Replace a convolution, and the addition and ReLU that alone use it, by one node."""
    convolution = cast("nn.Conv2d | nn.Conv3d", traced.get_submodule(str(node.target)))
    replaced, residual = [node], None
    user = _only_user(node)
    if user is not None and user.op == "call_function" and user.target in _ADDITIONS and _is_plain(user):
        other = user.args[1] if user.args[0] is node else user.args[0]
        activation = _only_user(user)
        # The sum of two convolutions: the later one adds the earlier one's output.
        if isinstance(other, fx.Node) and other < node and activation and _calls(traced, activation, nn.ReLU):
            replaced, residual = [node, user, activation], other
    elif user is not None and _calls(traced, user, nn.ReLU):
        replaced = [node, user]
    name, last = f"fused_{node.name}", replaced[-1]
    relu = last is not node
    traced.add_submodule(name, _form(convolution, dtype, relu=relu, triton_kernel=triton_kernel and residual is None))
    with traced.graph.inserting_after(last):
        arguments = (node.args[0],) if residual is None else (node.args[0], residual)
        last.replace_all_uses_with(traced.graph.call_module(name, arguments))
    for old in reversed(replaced):
        traced.graph.erase_node(old)


def _form(convolution: nn.Conv2d | nn.Conv3d, dtype: torch.dtype, *, relu: bool, triton_kernel: bool) -> nn.Module:
    if triton_kernel:
        from reeldex.extractors.runtimes.triton_convolution import TritonConvolution

        if TritonConvolution.fits(convolution):
            return TritonConvolution(convolution, relu=relu, dtype=dtype)
    if isinstance(convolution, nn.Conv2d):
        return FusedConv2d(convolution, relu=relu)
    if PointwiseConv3d.fits(convolution):
        return PointwiseConv3d(convolution, relu=relu)
    if StackedFramesConv3d.fits(convolution):
        return StackedFramesConv3d(convolution, relu=relu)
    return PlainConvolution(convolution, relu=relu)


class FusedConv2d(nn.Module):
    """A 2-D convolution, plus `residual`, then ReLU if `relu`: (B, C, H, W) to (B, C', H', W'), channels-last."""

    def __init__(self, convolution: nn.Conv2d, *, relu: bool) -> None:
        super().__init__()
        self.convolution = convolution
        self._relu = relu

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return the output of the convolution."""
        c = self.convolution
        x = x.contiguous(memory_format=torch.channels_last)
        if not (self._relu and x.is_cuda and c.padding_mode == "zeros" and not isinstance(c.padding, str)):
            return _finished(c(x), residual, relu=self._relu)
        geometry = (c.stride, c.padding, c.dilation, c.groups)
        if residual is not None and residual.shape != _output_shape(c, x):
            return _finished(c(x), residual, relu=True)
        if residual is None:
            return torch.cudnn_convolution_relu(x, c.weight, c.bias, *geometry)
        residual = residual.contiguous(memory_format=torch.channels_last)
        return torch.cudnn_convolution_add_relu(x, c.weight, residual, 1.0, c.bias, *geometry)


class PointwiseConv3d(nn.Module):
    """A 1x1x1 convolution as a 2-D one over all frames: (B, C, T, H, W) to (B, C', T', H', W'), channels-last."""

    def __init__(self, convolution: nn.Conv3d, *, relu: bool) -> None:
        super().__init__()
        self._strides = convolution.stride
        planar = nn.Conv2d(convolution.in_channels, convolution.out_channels, 1, device="meta")
        planar.weight = nn.Parameter(convolution.weight.detach().squeeze(2), requires_grad=False)
        planar.bias = convolution.bias
        self.planar = FusedConv2d(planar.to(memory_format=torch.channels_last), relu=relu)

    @staticmethod
    def fits(convolution: nn.Conv3d) -> bool:
        """Whether this class computes such a convolution."""
        return convolution.kernel_size == (1, 1, 1) and convolution.groups == 1 and convolution.padding == (0, 0, 0)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return the output of the convolution."""
        t, h, w = self._strides
        x = x[:, :, ::t, ::h, ::w]
        added = None if residual is None else _frames(residual)
        return _clips(self.planar(_frames(x), added), len(x))


class StackedFramesConv3d(nn.Module):
    """A 3-D convolution over few channels as a 2-D one, whose channels are those of all frames that a tap reaches.

    (B, C, T, H, W) to (B, C', T, H', W'), channels-last.
    """

    def __init__(self, convolution: nn.Conv3d, *, relu: bool) -> None:
        super().__init__()
        out, channels, self._reach, height, width = convolution.weight.shape
        self._margin = int(convolution.padding[0])
        self._unused = -(self._reach * channels) % _CHANNEL_MULTIPLE
        weight = convolution.weight.detach().transpose(1, 2).reshape(out, self._reach * channels, height, width)
        planar = nn.Conv2d(
            weight.shape[1] + self._unused,
            out,
            (height, width),
            cast("tuple[int, int]", convolution.stride[1:]),
            cast("tuple[int, int]", convolution.padding[1:]),
            device="meta",
        )
        padded = functional.pad(weight, (0, 0, 0, 0, 0, self._unused))
        planar.weight = nn.Parameter(padded, requires_grad=False)
        planar.bias = convolution.bias
        self.planar = FusedConv2d(planar.to(memory_format=torch.channels_last), relu=relu)

    @staticmethod
    def fits(convolution: nn.Conv3d) -> bool:
        """Whether this class computes such a convolution."""
        return (
            convolution.in_channels < _FEW_CHANNELS
            and convolution.groups == 1
            and convolution.stride[0] == 1
            and convolution.dilation == (1, 1, 1)
            and not isinstance(convolution.padding, str)
            and convolution.padding_mode == "zeros"
        )

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return the output of the convolution."""
        batch, channels, _, height, width = x.shape
        rows = functional.pad(x.permute(0, 2, 3, 4, 1), (0, 0, 0, 0, 0, 0, self._margin, self._margin))
        out_frames = rows.shape[1] - self._reach + 1
        stacked = x.new_zeros((batch, out_frames, height, width, self._reach * channels + self._unused))
        for tap in range(self._reach):
            stacked[..., tap * channels : (tap + 1) * channels] = rows[:, tap : tap + out_frames]
        planar = stacked.reshape(batch * out_frames, height, width, -1).permute(0, 3, 1, 2)
        return _clips(self.planar(planar, None if residual is None else _frames(residual)), batch)


class PlainConvolution(nn.Module):
    """Any other convolution, plus `residual`, then ReLU if `relu`, one after the other."""

    def __init__(self, convolution: nn.Module, *, relu: bool) -> None:
        super().__init__()
        self.convolution = convolution
        self._relu = relu

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return the output of the convolution."""
        return _finished(self.convolution(x), residual, relu=self._relu)


def _output_shape(c: nn.Conv2d, x: Tensor) -> tuple[int, ...]:
    assert not isinstance(c.padding, str)  # noqa: S101 - the caller has checked it
    sizes = zip(x.shape[2:], c.kernel_size, c.stride, c.padding, c.dilation, strict=True)
    return len(x), c.out_channels, *((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)


def _finished(out: Tensor, residual: Tensor | None, *, relu: bool) -> Tensor:
    if residual is not None:
        out = out + residual
    return functional.relu(out, inplace=True) if relu else out


def _frames(x: Tensor) -> Tensor:
    """View (B, C, T, H, W) as (B * T, C, H, W)."""
    batch, channels, frames, height, width = x.shape
    return x.permute(0, 2, 3, 4, 1).reshape(batch * frames, height, width, channels).permute(0, 3, 1, 2)


def _clips(x: Tensor, batch: int) -> Tensor:
    """View (B * T, C, H, W) as (B, C, T, H, W)."""
    total, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(batch, total // batch, height, width, channels)
    return rows.permute(0, 4, 1, 2, 3)
