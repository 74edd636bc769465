"""Small real networks, registered as somebody would add a third one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from reeldex.extractors import registry
from reeldex.extractors.network import Network, load_network
from reeldex.extractors.options import NetworkOptions, Runtime, WeightsChoice
from reeldex.extractors.registry import ExtractorRecord, extractor
from reeldex.extractors.runtimes import pytorch
from reeldex.extractors.runtimes.pytorch import TorchNetwork
from reeldex.extractors.spec import ExtractorSpec
from reeldex.extractors.weights import PretrainedWeights

LoadTiny = Callable[..., list[Network]]
RUNTIMES = (Runtime.TORCH, Runtime.OPENVINO)

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


class TinyNetwork(nn.Sequential):
    """A convolution with its BatchNorm, pooling, and the classifier that gives way to the features."""

    def __init__(self, *, volumes: bool) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 16, 5, 2) if volumes else nn.Conv2d(3, 16, 5, 2)
        self.norm = nn.BatchNorm3d(16) if volumes else nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool3d(1) if volumes else nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(16, 4)


def tiny_record(spec: ExtractorSpec) -> ExtractorRecord:
    return ExtractorRecord(
        spec=spec,
        build=lambda: TinyNetwork(volumes=spec.frames_per_clip > 1),
        pretrained=PretrainedWeights("never_published", "http://127.0.0.1:9/tiny.pth"),
        own_name=str,
        branch_gain_suffixes=(),
    )


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """Each runtime of the CPU."""
    chosen: Runtime = request.param
    if chosen is Runtime.OPENVINO:
        pytest.importorskip("openvino", reason="the package openvino is not installed")
    return chosen


@pytest.fixture
def load_tiny(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, runtime: Runtime) -> LoadTiny:
    """Register two tiny extractors, one on frames and one on clips, and load them: `load_tiny(batch_rows=4)`.

    A test that uses it runs once per runtime.
    """
    cache = tmp_path_factory.mktemp("converted")
    for spec in (TINY_2D, TINY_3D):
        monkeypatch.setitem(registry.EXTRACTORS, spec.name, tiny_record(spec))

    def load(batch_rows: int = 4) -> list[Network]:
        options = NetworkOptions(
            weights=WeightsChoice.RANDOM, device="cpu", batch_rows=batch_rows, runtime=runtime, converted_folder=cache
        )
        return [load_network(spec.name, options) for spec in (TINY_2D, TINY_3D)]

    return load


@pytest.fixture(scope="session")
def random_networks() -> dict[str, TorchNetwork]:
    """Both real networks with random weights, computed by PyTorch, two clips per batch."""
    options = NetworkOptions(weights=WeightsChoice.RANDOM, device="cpu", batch_rows=2, runtime=Runtime.TORCH)
    return {name: pytorch.load(extractor(name), options) for name in ("resnet152", "resnext101_3d")}
