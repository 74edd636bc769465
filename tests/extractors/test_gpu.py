"""The networks on a CUDA device, held against the same networks on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from reeldex.extractors.network import load_network
from reeldex.extractors.options import NetworkOptions, Precision, WeightsChoice
from reeldex.extractors.runtimes.network import least_cosine
from tests.extractors.conftest import LoadTiny

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.AUTO])
@pytest.mark.parametrize(("name", "shape"), [("tiny2d", (1, 32, 40, 3)), ("tiny3d", (16, 24, 24, 3))])
def test_features_on_a_gpu_are_those_of_the_cpu(
    load_tiny: LoadTiny, name: str, shape: tuple[int, ...], precision: Precision
) -> None:
    on_cpu = {network.spec.name: network for network in load_tiny()}[name]
    options = NetworkOptions(weights=WeightsChoice.RANDOM, device="cuda", batch_rows=4, precision=precision)
    clips = np.random.default_rng(0).integers(0, 256, size=(6, *shape), dtype=np.uint8)
    assert least_cosine(on_cpu.features(clips), load_network(name, options).features(clips)) >= 0.9999
