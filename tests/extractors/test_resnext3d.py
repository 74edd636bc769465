"""The written-out 3-D network against the one assembled from pytorchvideo's blocks: the same parameters and numbers."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from reeldex.extractors import resnext101
from reeldex.extractors.resnext3d import resnext3d

pytestmark = pytest.mark.slow


def assembled(blocks_per_stage: tuple[int, ...], groups: int, classes: int) -> nn.Module:
    with warnings.catch_warnings():
        # pytorchvideo compiles some functions with torch.jit at import, which is deprecated in PyTorch.
        warnings.filterwarnings("ignore", "`torch.jit", FutureWarning)
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        from pytorchvideo.models.resnet import create_bottleneck_block, create_res_stage
        from pytorchvideo.models.stem import create_res_basic_stem
    network = nn.Sequential()
    stem = create_res_basic_stem(
        in_channels=3,
        out_channels=64,
        conv_kernel_size=(7, 7, 7),
        conv_stride=(1, 2, 2),
        conv_padding=(3, 3, 3),
        pool_kernel_size=(3, 3, 3),
        pool_stride=(2, 2, 2),
        pool_padding=(1, 1, 1),
    )
    network.add_module("stem", stem)
    channels = 64
    for index, depth in enumerate(blocks_per_stage):
        out_channels = 256 * 2**index
        stride = 1 if index == 0 else 2
        stage = create_res_stage(
            depth=depth,
            dim_in=channels,
            dim_inner=out_channels // 2,
            dim_out=out_channels,
            bottleneck=create_bottleneck_block,
            conv_a_kernel_size=(1, 1, 1),
            conv_a_stride=(1, 1, 1),
            conv_a_padding=(0, 0, 0),
            conv_b_kernel_size=(3, 3, 3),
            conv_b_stride=(stride, stride, stride),
            conv_b_padding=(1, 1, 1),
            conv_b_num_groups=groups,
        )
        network.add_module(f"stage{index + 1}", stage)
        channels = out_channels
    network.add_module("pool", nn.AdaptiveAvgPool3d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("fc", nn.Linear(channels, classes))
    return network


def test_resnext101_has_the_parameters_of_pytorchvideos_blocks() -> None:
    with torch.device("meta"):
        ours, theirs = resnext101.build().state_dict(), assembled((3, 4, 23, 3), 32, 400).state_dict()
    assert [(name, value.shape) for name, value in ours.items()] == [(n, v.shape) for n, v in theirs.items()]


def test_untrained_weights_are_the_same() -> None:
    torch.manual_seed(0)
    ours = resnext3d((1, 1), 32, 7).state_dict()
    torch.manual_seed(0)
    theirs = assembled((1, 1), 32, 7).state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize("clip", [(16, 32, 32), (5, 33, 40)])
def test_numbers_are_those_of_pytorchvideos_blocks_to_the_bit(clip: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    theirs = assembled((1, 2, 1, 1), 32, 400).eval()
    ours = resnext3d((1, 2, 1, 1), 32, 400).eval()
    ours.load_state_dict(theirs.state_dict())
    clips = torch.rand(2, 3, *clip)
    with torch.inference_mode():
        assert torch.equal(ours(clips), theirs(clips))
