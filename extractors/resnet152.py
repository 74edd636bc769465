"""The 2-D network: ResNet-152, as torchvision publishes it, on one frame per second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reeldex.extractors.spec import ExtractorSpec

if TYPE_CHECKING:
    from torch import nn

# URL of torchvision's IMAGENET1K_V1. Copied, since torchvision takes seconds to import; a test compares them.
PRETRAINED_URL = "https://download.pytorch.org/models/resnet152-394f9c45.pth"

# Sampling and scaling: the HowTo100M feature extractor. Mean and std: ImageNet's, in units of 1/255.
SPEC = ExtractorSpec(
    name="resnet152",
    frames_per_second=1,
    frames_per_clip=1,
    short_side_pixels=224,
    centre_crop=False,
    pixel_divisor=255.0,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    feature_dim=2048,
)


def build() -> nn.Module:
    """Return the network without weights: (B, 3, H, W) to (B, 1000) through its classifier `fc`."""
    from reeldex.extractors.resnet2d import ResNet

    return ResNet(blocks_per_stage=(3, 8, 36, 3), classes=1000)
