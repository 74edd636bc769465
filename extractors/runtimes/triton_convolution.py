"""3x3 and 3x3x3 convolutions in half precision on CUDA, as a Triton kernel.

- Grouped 3-D ones: cuDNN computes them without tensor cores; they took 72 % of ResNeXt-101's time on an H200. Several
  small groups are packed into one block of channels, whose other weights are zero.
- 2-D ones: some of cuDNN's algorithms round a row differently at another place in the batch. Here each output is summed
  in one order, so that a row's bytes depend on its own clip only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import triton
import triton.language as tl
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

# Channels per matrix product of grouped convolutions: smaller blocks leave tensor cores idle, larger ones multiply more
# zeros. Those of the others are as large as fits.
_GROUPED_CHANNELS = 32
_MOST_GROUP_CHANNELS = 64
_IN_CHANNELS = 64
_OUT_CHANNELS = 128
_POSITIONS = 128
_PLANE = 9


# Compiled once per kind of convolution, not once more for sizes with other divisors.
_SIZES = ["positions", "frames", "height", "width", "out_frames", "out_height", "out_width"]


@triton.jit(do_not_specialize=_SIZES)  # type: ignore[untyped-decorator]
def _convolution(  # type: ignore[no-untyped-def]
    x_ptr,
    weight_ptr,
    bias_ptr,
    y_ptr,
    positions,
    frames,
    height,
    width,
    out_frames,
    out_height,
    out_width,
    channels: tl.constexpr,
    out_channels: tl.constexpr,
    grouped: tl.constexpr,
    depth: tl.constexpr,
    stride: tl.constexpr,
    block_in: tl.constexpr,
    block_out: tl.constexpr,
    block_positions: tl.constexpr,
    relu: tl.constexpr,
):
    block = tl.program_id(1)
    position = tl.program_id(0) * block_positions + tl.arange(0, block_positions)
    within = position < positions
    column = position % out_width
    rest = position // out_width
    row = rest % out_height
    rest = rest // out_height
    frame = rest % out_frames
    clip = rest // out_frames
    in_lane = tl.arange(0, block_in)
    out_lane = tl.arange(0, block_out)
    first_in = block * block_out if grouped else 0
    parts: tl.constexpr = 1 if grouped else channels // block_in
    total = tl.zeros((block_positions, block_out), tl.float32)
    for step in range(9 * depth * parts):
        tap = step // parts
        part = step % parts
        t = frame * stride + tap // 9 - depth // 2
        h = row * stride + (tap // 3) % 3 - 1
        w = column * stride + tap % 3 - 1
        inside = within & (t >= 0) & (t < frames) & (h >= 0) & (h < height) & (w >= 0) & (w < width)
        at = ((clip * frames + t) * height + h) * width + w
        channel = first_in + part * block_in + in_lane
        values = tl.load(
            x_ptr + at[:, None].to(tl.int64) * channels + channel[None, :], mask=inside[:, None], other=0.0
        )
        first = (block * 9 * depth * parts + step) * block_in * block_out
        weights = tl.load(weight_ptr + first + in_lane[:, None] * block_out + out_lane[None, :])
        total = tl.dot(values, weights, total)
    out_channel = block * block_out + out_lane
    total += tl.load(bias_ptr + out_channel)[None, :].to(tl.float32)
    if relu:
        total = tl.maximum(total, 0.0)
    tl.store(
        y_ptr + position[:, None].to(tl.int64) * out_channels + out_channel[None, :],
        total.to(y_ptr.dtype.element_ty),
        mask=within[:, None],
    )


class TritonConvolution(nn.Module):
    """A convolution of size 3, equal strides and padding 1, then ReLU if `relu`.

    (B, C, H, W) or (B, C, T, H, W) to the same with C' channels, both channels-last, float16 or bfloat16 on CUDA.
    """

    def __init__(self, convolution: nn.Conv2d | nn.Conv3d, *, relu: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self._relu = relu
        self._stride = convolution.stride[0]
        self._channels, self._out_channels = convolution.in_channels, convolution.out_channels
        self._grouped = convolution.groups > 1
        self._depth = 3 if isinstance(convolution, nn.Conv3d) else 1
        if self._grouped:
            per_group = self._out_channels // convolution.groups
            self._block_in = self._block_out = max(per_group, min(_GROUPED_CHANNELS, self._out_channels))
        else:
            self._block_in, self._block_out = _IN_CHANNELS, min(_OUT_CHANNELS, self._out_channels)
        packed = packed_weights(convolution.weight.detach(), convolution.groups, self._block_in, self._block_out)
        self.register_buffer("_weight", packed.to(dtype))
        self.register_buffer("_bias", cast("Tensor", convolution.bias).detach().to(dtype))

    @staticmethod
    def fits(convolution: nn.Conv2d | nn.Conv3d) -> bool:
        """Whether this class computes such a convolution. Triton's blocks have a power of two of channels, from 16."""
        size = len(convolution.kernel_size)
        channels, groups = convolution.out_channels, convolution.groups
        same = (
            convolution.kernel_size == (3,) * size
            and convolution.stride in ((1,) * size, (2,) * size)
            and convolution.padding == (1,) * size
            and convolution.dilation == (1,) * size
            and convolution.padding_mode == "zeros"
            and convolution.bias is not None
        )
        if groups == 1:
            blocks = channels in (16, 32, 64) or channels % _OUT_CHANNELS == 0
            return same and size == 2 and blocks and convolution.in_channels % _IN_CHANNELS == 0
        per_group = channels // groups
        powers = per_group & (per_group - 1) == 0 and channels & (channels - 1) == 0
        is_small = per_group <= _MOST_GROUP_CHANNELS and channels >= 16
        return same and size == 3 and convolution.in_channels == channels and powers and is_small

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of `x`."""
        clips = x if x.dim() == 5 else x.unsqueeze(2)
        rows = clips.permute(0, 2, 3, 4, 1).contiguous()
        batch, frames, height, width, channels = rows.shape
        out_frames, out_height, out_width = ((size - 1) // self._stride + 1 for size in (frames, height, width))
        y = rows.new_empty((batch, out_frames, out_height, out_width, self._out_channels))
        positions = batch * out_frames * out_height * out_width
        _convolution[(triton.cdiv(positions, _POSITIONS), self._out_channels // self._block_out)](
            rows,
            self._weight,
            self._bias,
            y,
            positions,
            frames,
            height,
            width,
            out_frames,
            out_height,
            out_width,
            channels=channels,
            out_channels=self._out_channels,
            grouped=self._grouped,
            depth=self._depth,
            stride=self._stride,
            block_in=self._block_in,
            block_out=self._block_out,
            block_positions=_POSITIONS,
            relu=self._relu,
            num_warps=8,
        )
        out = y.permute(0, 4, 1, 2, 3)
        return out if x.dim() == 5 else out.squeeze(2)


def packed_weights(weight: Tensor, groups: int, block_in: int, block_out: int) -> Tensor:
    """Return weights (C', C / groups, ...) as (C' / block_out, taps, parts, block_in, block_out), zero between groups.

    Without groups, the parts are blocks of input channels; with groups there is one, of the block's own channels.
    """
    out_channels, per_group = weight.shape[:2]
    taps = weight.reshape(out_channels, per_group, -1)
    count = taps.shape[2]
    if groups == 1:
        blocks = taps.reshape(out_channels // block_out, block_out, per_group // block_in, block_in, count)
        return blocks.permute(0, 4, 2, 3, 1).contiguous()
    packed = weight.new_zeros((out_channels // block_out, count, 1, block_in, block_out))
    for out in range(out_channels):
        first = out % block_out // per_group * per_group
        packed[out // block_out, :, 0, first : first + per_group, out % block_out] = taps[out].t()
    return packed
