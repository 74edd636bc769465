"""Tiny networks on frames and on clips, registered as those of another installed package are.

They take the place of the real ones, which take seconds to load and to compute, in tests of anything but their numbers.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import OrderedDict
from typing import TYPE_CHECKING

from reeldex.extractors.registry import ExtractorRecord
from reeldex.extractors.spec import ExtractorSpec
from reeldex.extractors.weights import PretrainedWeights

if TYPE_CHECKING:
    from torch import nn

TINY_2D = ExtractorSpec(
    name="tiny2d",
    frames_per_second=1,
    frames_per_clip=1,
    short_side_pixels=32,
    centre_crop=False,
    pixel_divisor=255.0,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    feature_dim=16,
)
TINY_3D = ExtractorSpec(
    name="tiny3d",
    frames_per_second=24,
    frames_per_clip=16,
    short_side_pixels=24,
    centre_crop=True,
    pixel_divisor=1.0,
    mean=(110.0, 110.0, 110.0),
    std=(60.0, 60.0, 60.0),
    feature_dim=16,
)


# Their rows are as wide as those of the real networks, for what depends on the size of files.
WIDE_2D = dataclasses.replace(TINY_2D, name="wide2d", feature_dim=2048)
WIDE_3D = dataclasses.replace(TINY_3D, name="wide3d", feature_dim=2048)


def tiny_network(*, volumes: bool, feature_dim: int = 16) -> nn.Module:
    """Return a convolution with its BatchNorm, pooling, and the classifier that gives way to the features."""
    from torch import nn

    conv = nn.Conv3d if volumes else nn.Conv2d
    return nn.Sequential(
        OrderedDict(
            conv=conv(3, 16, 5, 2),
            norm=nn.BatchNorm3d(16) if volumes else nn.BatchNorm2d(16),
            **({"widen": conv(16, feature_dim, 1)} if feature_dim != 16 else {}),
            relu=nn.ReLU(),
            pool=nn.AdaptiveAvgPool3d(1) if volumes else nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(feature_dim, 4),
        )
    )


def tiny_record(spec: ExtractorSpec) -> ExtractorRecord:
    """Return the record of a tiny network; its published weights are nowhere."""
    return ExtractorRecord(
        spec=spec,
        build=functools.partial(tiny_network, volumes=spec.frames_per_clip > 1, feature_dim=spec.feature_dim),
        pretrained=PretrainedWeights("never_published", "http://127.0.0.1:9/tiny.pth"),
    )


RECORD_2D, RECORD_3D = tiny_record(TINY_2D), tiny_record(TINY_3D)
RECORD_WIDE_2D, RECORD_WIDE_3D = tiny_record(WIDE_2D), tiny_record(WIDE_3D)
