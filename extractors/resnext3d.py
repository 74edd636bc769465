"""3-D residual networks with grouped bottleneck blocks (Hara et al., arXiv 1711.09577).

The modules have the names of pytorchvideo's blocks, from which this network was first assembled: parameters, untrained
weights and fingerprints of existing stores stay the same. Implemented here because pytorchvideo imports torchvision,
which a build of PyTorch without CUDA often lacks, and takes longer to import than a short clip to extract. A test
compares the network with pytorchvideo's, name by name and bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class Stem(nn.Module):
    """The first convolution and pooling: (B, 3, T, H, W) to (B, 64, T / 2, H / 4, W / 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 64, 7, (1, 2, 2), padding=3, bias=False)
        self.norm = nn.BatchNorm3d(64)
        self.activation = nn.ReLU()
        self.pool = nn.MaxPool3d(3, 2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the pooled maps."""
        pooled: torch.Tensor = self.pool(self.activation(self.norm(self.conv(x))))
        return pooled


class Bottleneck(nn.Module):
    """Three convolutions, the grouped second one with the stride in time, height and width."""

    def __init__(self, channels: int, width: int, out_channels: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv_a = nn.Conv3d(channels, width, 1, bias=False)
        self.norm_a = nn.BatchNorm3d(width)
        self.act_a = nn.ReLU()
        self.conv_b = nn.Conv3d(width, width, 3, stride, padding=1, groups=groups, bias=False)
        self.norm_b = nn.BatchNorm3d(width)
        self.act_b = nn.ReLU()
        self.conv_c = nn.Conv3d(width, out_channels, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the maps before the shortcut is added."""
        out = self.act_a(self.norm_a(self.conv_a(x)))
        out = self.act_b(self.norm_b(self.conv_b(out)))
        normalised: torch.Tensor = self.norm_c(self.conv_c(out))
        return normalised


class Block(nn.Module):
    """A residual block: (B, `channels`, T, H, W) to (B, `out_channels`, T / `stride`, H / `stride`, W / `stride`)."""

    def __init__(self, channels: int, out_channels: int, stride: int, groups: int) -> None:
        super().__init__()
        self.branch1_conv: nn.Module | None = None
        self.branch1_norm: nn.Module | None = None
        if stride != 1 or channels != out_channels:
            self.branch1_conv = nn.Conv3d(channels, out_channels, 1, stride, bias=False)
            self.branch1_norm = nn.BatchNorm3d(out_channels)
        self.branch2 = Bottleneck(channels, out_channels // 2, out_channels, stride, groups)
        self.activation = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output."""
        shortcut = x
        if self.branch1_conv is not None and self.branch1_norm is not None:
            shortcut = self.branch1_norm(self.branch1_conv(x))
        activated: torch.Tensor = self.activation(shortcut + self.branch2(x))
        return activated


class Stage(nn.Module):
    """Blocks of equal width; the first one has the stride."""

    def __init__(self, depth: int, channels: int, out_channels: int, stride: int, groups: int) -> None:
        super().__init__()
        first = Block(channels, out_channels, stride, groups)
        self.res_blocks = nn.ModuleList(
            [first, *(Block(out_channels, out_channels, 1, groups) for _ in range(depth - 1))]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last block's output."""
        for block in self.res_blocks:
            x = block(x)
        return x


def resnext3d(blocks_per_stage: Sequence[int], groups: int, classes: int) -> nn.Module:
    """Return the network without weights: (B, 3, T, H, W) to (B, `classes`) through its classifier `fc`."""
    network = nn.Sequential()
    network.add_module("stem", Stem())
    channels = 64
    for index, depth in enumerate(blocks_per_stage):
        out_channels = 256 * 2**index
        network.add_module(f"stage{index + 1}", Stage(depth, channels, out_channels, 2 if index else 1, groups))
        channels = out_channels
    network.add_module("pool", nn.AdaptiveAvgPool3d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("fc", nn.Linear(channels, classes))
    return network
