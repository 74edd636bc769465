"""The network that CUDA devices compute in half precision, held against the one it was made from."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections import Counter
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reeldex.extractors.batch_norms import fold_batch_norms
from reeldex.extractors.options import NetworkOptions, Precision, WeightsChoice
from reeldex.extractors.resnet2d import ResNet
from reeldex.extractors.runtimes import cuda_loading
from reeldex.extractors.runtimes import fused as fused_module
from reeldex.extractors.runtimes.cuda_loading import Measured, fastest, prepared
from reeldex.extractors.runtimes.fused import FusedConv2d, PointwiseConv3d, StackedFramesConv3d, fused
from tests.networks.reeldex_test_networks import TINY_2D, TINY_3D, tiny_network, tiny_record

CLIPS = (2, 3, 6, 20, 22)


class ResidualOfVolumes(nn.Module):
    """The parts of a 3-D ResNeXt: a first convolution over few channels, then a block with groups and a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, 16, (3, 5, 5), (1, 2, 2), (1, 2, 2))
        self.shortcut = nn.Conv3d(16, 32, 1, 2)
        self.narrow = nn.Conv3d(16, 16, 1)
        self.grouped = nn.Conv3d(16, 16, 3, 2, 1, groups=4)
        self.wide = nn.Conv3d(16, 32, 1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        inner = self.wide(self.relu(self.grouped(self.relu(self.narrow(x)))))
        return torch.flatten(self.relu(self.shortcut(x) + inner), 1)


class DependsOnItsInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x) if x.sum() >= 0 else self.conv(-x)
        return out


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected.float()).norm() / expected.float().norm())


def residual_of_frames() -> nn.Module:
    network = ResNet([2, 1], classes=5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.uniform_(-1, 1)
    network.eval()
    fold_batch_norms(network)
    return network


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_a_2d_network_computes_the_same_in_fewer_steps() -> None:
    network, frames = residual_of_frames(), torch.randn(2, 3, 40, 52)
    rewritten = fused(network, torch.float32, triton_kernel=False)
    kinds = Counter(type(module) for module in rewritten.modules())
    assert kinds[FusedConv2d] == sum(isinstance(module, nn.Conv2d) for module in network.modules())
    assert kinds[nn.ReLU] == kinds[nn.Identity] == 0
    with torch.inference_mode():
        assert relative_error(rewritten(frames), network(frames)) < 1e-6


def test_a_3d_network_computes_the_same_in_2d_convolutions() -> None:
    network, clips = ResidualOfVolumes().eval(), torch.randn(CLIPS)
    rewritten = fused(network, torch.float32, triton_kernel=False)
    kinds = Counter(type(module) for module in rewritten.modules())
    assert (kinds[StackedFramesConv3d], kinds[PointwiseConv3d], kinds[nn.ReLU]) == (1, 3, 0)
    with torch.inference_mode():
        assert relative_error(rewritten(clips), network(clips)) < 1e-6


def test_the_network_itself_stays_as_it_is() -> None:
    network, clips = ResidualOfVolumes().eval(), torch.randn(CLIPS)
    before = network(clips)
    fused(network, torch.float16, triton_kernel=False)
    assert (network(clips) == before).all()


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv3d(3, 8, (7, 7, 7), (1, 2, 2), (3, 3, 3)),
        nn.Conv3d(2, 8, (4, 3, 5), (1, 1, 2), (0, 1, 2)),
        nn.Conv3d(3, 8, (1, 3, 3), 1, (0, 1, 1)),
    ],
    ids=["stem", "even", "flat"],
)
def test_frames_stacked_in_channels_make_the_same_convolution(convolution: nn.Conv3d) -> None:
    clips = torch.randn(2, convolution.in_channels, 6, 12, 14)
    assert StackedFramesConv3d.fits(convolution)
    with torch.inference_mode():
        expected = convolution(clips)
        for found, wanted in (
            (StackedFramesConv3d(convolution, relu=True)(clips), expected.relu()),
            (StackedFramesConv3d(convolution, relu=False)(clips), expected),
        ):
            assert found.shape == wanted.shape
            assert relative_error(found, wanted) < 1e-6


@pytest.mark.parametrize("stride", [1, 2, (1, 2, 2)])
def test_a_1x1x1_convolution_is_one_over_frames(stride: int | tuple[int, int, int]) -> None:
    convolution, clips = nn.Conv3d(6, 8, 1, stride), torch.randn(2, 6, 5, 7, 9)
    with torch.inference_mode():
        expected = convolution(clips)
        residual = torch.randn_like(expected)
        found = PointwiseConv3d(convolution, relu=True)(clips, residual)
        assert relative_error(found, (expected + residual).relu()) < 1e-6


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv3d(3, 8, 3, 2),
        nn.Conv3d(3, 9, 3, groups=3),
        nn.Conv3d(3, 8, 3, dilation=2),
        nn.Conv3d(3, 8, 3, padding="same"),
        nn.Conv3d(3, 8, 3, padding=1, padding_mode="reflect"),
        nn.Conv3d(16, 8, 3),
    ],
    ids=["stride", "groups", "dilation", "words", "reflect", "channels"],
)
def test_other_convolutions_stay_3d(convolution: nn.Conv3d) -> None:
    assert not StackedFramesConv3d.fits(convolution)
    network = nn.Sequential(convolution, nn.ReLU())
    clips = torch.randn(1, convolution.in_channels, 8, 9, 9)
    with torch.inference_mode():
        assert (fused(network, torch.float32)(clips) == network(clips)).all()


class Weighted(nn.Module):
    """An addition that is not plain, and one of another shape: neither is part of a convolution's kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
        self.relu, self.pool = nn.ReLU(), nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(torch.add(x, self.first(x), alpha=2))
        return torch.flatten(self.relu(self.second(x) + self.pool(x)), 1)


def test_a_weighted_addition_and_one_of_another_shape_stay_what_they_are() -> None:
    network, frames = Weighted().eval(), torch.randn(2, 3, 8, 9)
    with torch.inference_mode():
        assert relative_error(fused(network, torch.float32, triton_kernel=False)(frames), network(frames)) < 1e-6


def test_the_shape_of_a_residual_is_that_of_the_output() -> None:
    for convolution in (nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(3, 8, (3, 5), (1, 2), (0, 3), dilation=(2, 1))):
        frames = torch.randn(2, 3, 17, 19)
        assert fused_module._output_shape(convolution, frames) == convolution(frames).shape


def test_a_rewritten_network_that_computes_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_network(volumes=False).eval()
    monkeypatch.setattr(
        cuda_loading, "fused", lambda module, dtype, **_: nn.Sequential(module, nn.Softmin(1)).to(dtype)
    )
    _, kernels = prepared(network, TINY_2D, Precision.BF16)
    assert not kernels


@pytest.mark.slow
def test_triton_multiplies_what_pytorch_multiplies() -> None:
    """Triton's interpreter runs the kernel on the CPU; it has to be chosen before Triton is imported."""
    program = """
import torch
from torch import nn
from reeldex.extractors.runtimes.triton_convolution import TritonConvolution
torch.manual_seed(0)
cases = [nn.Conv3d(c, c, 3, s, 1, groups=g) for c, g, s in ((32, 8, 1), (32, 8, 2), (32, 32, 1), (64, 1 << 4, 1))]
cases += [nn.Conv2d(c, o, 3, s, 1) for c, o, s in ((64, 64, 1), (128, 128, 2), (64, 256, 1))]
with torch.inference_mode():
    for conv in cases:
        assert TritonConvolution.fits(conv), conv
        # More positions than a block has, at least with stride 1.
        x = torch.randn(2, conv.in_channels, *(3, 7, 9)[3 - len(conv.kernel_size):])
        for relu in (True, False):
            found = TritonConvolution(conv, relu=relu, dtype=torch.float16)(x.half()).float()
            expected = conv(x).relu() if relu else conv(x)
            assert found.shape == expected.shape, conv
            assert (found - expected).norm() < 1e-3 * expected.norm(), conv
"""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(64, 48, 3, 1, 1),
        nn.Conv2d(40, 64, 3, 1, 1),
        nn.Conv2d(64, 64, 3, 1, 1, groups=4),
        nn.Conv2d(64, 64, 3, 1, 1, bias=False),
        nn.Conv2d(64, 64, 5, 1, 1),
        nn.Conv2d(64, 64, 3, 1, "same"),
        nn.Conv3d(64, 64, 3, (1, 2, 2), 1, groups=4),
        nn.Conv3d(96, 96, 3, 1, 1, groups=4),
        nn.Conv3d(64, 64, 3, 1, 1),
        nn.Conv3d(256, 256, 3, 1, 1, groups=2),
    ],
    ids=["out", "in", "2d-groups", "no-bias", "size", "words", "strides", "no-power", "dense-3d", "wide-groups"],
)
def test_triton_is_used_only_where_its_blocks_fit(convolution: nn.Conv2d | nn.Conv3d) -> None:
    from reeldex.extractors.runtimes.triton_convolution import TritonConvolution

    assert not TritonConvolution.fits(convolution)


HALF, BRAIN, TF, FULL = Precision.FP16, Precision.BF16, Precision.TF32, Precision.FP32


class _Computing:
    """A network on a device that computes in one precision; one half precision it cannot."""

    def __init__(self, precision: Precision) -> None:
        self.precision, self.device, self.batch_rows = precision, "cuda:0", 4

    def features(self, clips: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.float16]]:
        if self.precision is Precision.FP16:
            raise RuntimeError("expected m1 and m2 to have the same dtype")
        return np.ones((len(clips), 16), np.float16)


def test_a_precision_that_a_network_cannot_compute_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # There is no CUDA device here.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    chosen = cuda_loading._measured_best(
        cast("Any", _Computing),
        tiny_record(TINY_2D),
        NetworkOptions(weights=WeightsChoice.RANDOM),
        torch.device("cuda:0"),
    )
    assert chosen.precision in (Precision.TF32, Precision.FP32)
    assert "tiny2d cannot compute in fp16 on cuda:0 (RuntimeError: expected m1 and m2 to have" in caplog.text


@pytest.mark.parametrize(
    ("speeds", "cosines", "chosen"),
    [
        ((100, 90, 50, 10), (1, 1, 1, 1), HALF),
        ((100, 109, 50, 10), (1, 1, 1, 1), HALF),  # about as fast: the first stays
        ((100, 120, 50, 10), (1, 1, 1, 1), BRAIN),
        ((100, 120, 50, 10), (1, 0.9998, 1, 1), HALF),
        ((100, 120, 300, 10), (0.99989, 0.9, 0.99999, 1), TF),
        ((100, 120, 300, 10), (float("nan"), 0.9, 0.9, 1), FULL),
        ((100, 120, 300, 10), (float("nan"),) * 4, FULL),  # damaged weights
    ],
)
def test_the_fastest_accurate_precision_is_chosen(
    speeds: tuple[float, ...], cosines: tuple[float, ...], chosen: Precision
) -> None:
    measured = [Measured(*each) for each in zip((HALF, BRAIN, TF, FULL), speeds, cosines, strict=True)]
    assert fastest(measured) is chosen


@pytest.mark.slow
def test_without_a_gpu_for_triton_the_other_kernels_are_used(caplog: pytest.LogCaptureFixture) -> None:
    network = nn.Sequential(nn.Conv3d(3, 64, 3, 1, 1), nn.ReLU(), nn.Conv3d(64, 64, 3, 1, 1, groups=4)).eval()
    with caplog.at_level(logging.WARNING):
        rewritten, kernels = prepared(network, TINY_3D, Precision.FP16)
    assert kernels == "fused, cuDNN"
    assert next(rewritten.parameters()).dtype is torch.float16
    assert "tiny3d: the kernels 'fused, Triton' cannot be used on this machine" in caplog.text


def test_a_network_that_cannot_be_traced_is_used_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    network = DependsOnItsInput().eval()
    with caplog.at_level(logging.WARNING):
        plain, kernels = prepared(network, TINY_2D, Precision.BF16)
    assert not kernels
    assert isinstance(plain, DependsOnItsInput)
    assert next(plain.parameters()).dtype is torch.bfloat16
    assert next(network.parameters()).dtype is torch.float32
    assert caplog.text.count("tiny2d: its network cannot be rewritten") == 1


def test_float32_is_computed_by_the_network_itself() -> None:
    network = tiny_network(volumes=False).eval()
    assert prepared(network, TINY_2D, Precision.FP32) == prepared(network, TINY_2D, Precision.TF32) == (network, "")
