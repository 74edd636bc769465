"""The tiny networks and the real ones, loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reeldex.extractors.network import Network, load_network
from reeldex.extractors.options import NetworkOptions, Runtime, WeightsChoice
from reeldex.extractors.registry import extractor
from reeldex.extractors.runtimes import pytorch
from reeldex.extractors.runtimes.pytorch import TorchNetwork
from tests.networks.reeldex_test_networks import TINY_2D, TINY_3D

LoadTiny = Callable[..., list[Network]]
RUNTIMES = (Runtime.TORCH, Runtime.OPENVINO)


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """Each runtime of the CPU."""
    chosen: Runtime = request.param
    if chosen is Runtime.OPENVINO:
        pytest.importorskip("openvino", reason="the package openvino is not installed")
    return chosen


@pytest.fixture(scope="session")
def converted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("converted")


@pytest.fixture
def load_tiny(converted_folder: Path, runtime: Runtime) -> LoadTiny:
    """Load both tiny networks: `load_tiny(batch_rows=4)`.

    A test that uses it runs once per runtime.
    """

    def load(batch_rows: int = 4) -> list[Network]:
        options = NetworkOptions(
            weights=WeightsChoice.RANDOM,
            device="cpu",
            batch_rows=batch_rows,
            runtime=runtime,
            converted_folder=converted_folder,
        )
        return [load_network(spec.name, options) for spec in (TINY_2D, TINY_3D)]

    return load


@pytest.fixture(scope="session")
def random_networks() -> dict[str, TorchNetwork]:
    """Both real networks with random weights, computed by PyTorch, two clips per batch."""
    options = NetworkOptions(weights=WeightsChoice.RANDOM, device="cpu", batch_rows=2, runtime=Runtime.TORCH)
    return {name: pytorch.load(extractor(name), options) for name in ("resnet152", "resnext101_3d")}
