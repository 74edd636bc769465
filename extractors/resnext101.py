"""The 3-D network: ResNeXt-101 with 32 groups, trained on Kinetics, on clips of 16 frames.

The architecture is that of the published HowTo100M feature extractor (3-D ResNets of Hara et al.,
arXiv 1711.09577): the first convolution of a bottleneck is 1x1x1, the grouped second one is 3x3x3 and carries the
stride in time, height and width, and the stem pools 3x3x3 with stride 2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reeldex.extractors.spec import ExtractorSpec

if TYPE_CHECKING:
    from torch import nn

# Mean of the Kinetics/ActivityNet training videos on the scale 0..255, RGB; not divided by a deviation.
SPEC = ExtractorSpec(
    name="resnext101_3d",
    frames_per_second=24,
    frames_per_clip=16,
    short_side_pixels=112,
    centre_crop=True,
    pixel_divisor=1.0,
    mean=(110.6, 103.2, 96.3),
    std=(1.0, 1.0, 1.0),
    feature_dim=2048,
)

PRETRAINED_URL = "https://www.rocq.inria.fr/cluster-willow/amiech/howto100m/models/resnext101.pth"
CLASSES = 400
_BLOCKS_PER_STAGE = (3, 4, 23, 3)
_GROUPS = 32


def build() -> nn.Module:
    """Return the network without weights: (B, 3, 16, 112, 112) to (B, 400) through its classifier `fc`."""
    from reeldex.extractors.resnext3d import resnext3d

    return resnext3d(_BLOCKS_PER_STAGE, _GROUPS, CLASSES)


_BLOCK_PARTS = {
    "conv1": "branch2.conv_a",
    "bn1": "branch2.norm_a",
    "conv2": "branch2.conv_b",
    "bn2": "branch2.norm_b",
    "conv3": "branch2.conv_c",
    "bn3": "branch2.norm_c",
    "downsample.0": "branch1_conv",
    "downsample.1": "branch1_norm",
}
_BLOCK_NAME = re.compile(r"layer(\d)\.(\d+)\.(conv\d|bn\d|downsample\.\d)\.(\w+)")


def own_parameter_name(published: str) -> str:
    """Return this network's name of the parameter `published` of the published checkpoint.

    Example: `layer1.0.conv1.weight` is `stage1.res_blocks.0.branch2.conv_a.weight`. A name that matches no
    rule is returned unchanged, and strict loading then reports it.
    """
    block = _BLOCK_NAME.fullmatch(published)
    if block and block[3] in _BLOCK_PARTS:
        return f"stage{block[1]}.res_blocks.{block[2]}.{_BLOCK_PARTS[block[3]]}.{block[4]}"
    return re.sub(r"^bn1\.", "stem.norm.", re.sub(r"^conv1\.", "stem.conv.", published))
