"""Residual networks with bottleneck blocks (He et al., arXiv 1512.03385), as torchvision's `resnet152` builds them.

Implemented here because importing torchvision takes longer than extracting a short clip: it imports PyTorch's compiler.
A test compares the network with torchvision's, name by name and bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

_EXPANSION = 4


class Bottleneck(nn.Module):
    """A residual block of three convolutions: (B, C, H, W) to (B, 4 * `width`, H / `stride`, W / `stride`)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = width * _EXPANSION
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out_channels:
            shortcut = nn.Conv2d(channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += shortcut
        activated: torch.Tensor = self.relu(out)
        return activated


class ResNet(nn.Module):
    """A residual network: (B, 3, H, W) to (B, `classes`); the input of its classifier `fc` is (B, 2048)."""

    def __init__(self, blocks_per_stage: Sequence[int], classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        channels = 64
        for index, count in enumerate(blocks_per_stage):
            width, stride = 64 * 2**index, 1 if index == 0 else 2
            blocks = []
            for number in range(count):
                blocks.append(Bottleneck(channels, width, stride if number == 0 else 1))
                channels = width * _EXPANSION
            self.add_module(f"layer{index + 1}", nn.Sequential(*blocks))
        self._stages = len(blocks_per_stage)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc: nn.Module = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the classifier's output."""
        out = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for index in range(self._stages):
            out = self.get_submodule(f"layer{index + 1}")(out)
        classified: torch.Tensor = self.fc(torch.flatten(self.avgpool(out), 1))
        return classified
