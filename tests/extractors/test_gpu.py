"""The networks on a CUDA device, held against the same networks on the CPU."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reeldex.extractors import registry
from reeldex.extractors.errors import InvalidExtractorError
from reeldex.extractors.network import load_network
from reeldex.extractors.options import NetworkOptions, Precision, WeightsChoice
from reeldex.extractors.runtimes.network import Network, least_cosine
from tests.extractors.conftest import LoadTiny
from tests.networks.reeldex_test_networks import TINY_2D, tiny_record

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize(("name", "shape"), [("tiny2d", (1, 32, 40, 3)), ("tiny3d", (16, 24, 24, 3))])
def test_features_on_a_gpu_are_those_of_the_cpu(
    load_tiny: LoadTiny, name: str, shape: tuple[int, ...], precision: Precision
) -> None:
    on_cpu = {network.spec.name: network for network in load_tiny()}[name]
    options = NetworkOptions(weights=WeightsChoice.RANDOM, device="cuda", batch_rows=4, precision=precision)
    clips = np.random.default_rng(0).integers(0, 256, size=(6, *shape), dtype=np.uint8)
    assert least_cosine(on_cpu.features(clips), load_network(name, options).features(clips)) >= 0.9999


def real_network(name: str, precision: Precision, batch_rows: int = 8) -> Network:
    options = NetworkOptions(weights=WeightsChoice.RANDOM, device="cuda:0", batch_rows=batch_rows, precision=precision)
    return load_network(name, options)


REAL = [("resnet152", (1, 224, 398, 3)), ("resnext101_3d", (16, 112, 112, 3))]


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.AUTO])
@pytest.mark.parametrize(("name", "shape"), REAL)
def test_a_row_of_a_gpu_depends_on_its_clip_alone(name: str, shape: tuple[int, ...], precision: Precision) -> None:
    network = real_network(name, precision)
    clips = np.random.default_rng(0).integers(0, 256, size=(8, *shape), dtype=np.uint8)
    rows = network.features(clips)
    assert (network.features(clips[::-1])[::-1] == rows).all(), "at another place of the batch"
    alone = network.new_batch(clips.shape)
    alone[0], alone[1:] = clips[3], 0
    assert (network.features(alone)[0] == rows[3]).all(), "beside other clips"
    # From the fourth batch of a shape on, a captured graph computes it.
    assert all((network.features(clips) == rows).all() for _ in range(6))
    pending = [network.submit(clips) for _ in range(5)]
    assert all((each.wait() == rows).all() for each in reversed(pending))
    assert (network.features(clips[:3]) == rows[:3]).all(), "in a batch that is not full"


@pytest.mark.parametrize(("name", "shape"), REAL)
def test_half_precision_stays_close_to_float32(name: str, shape: tuple[int, ...]) -> None:
    clips = np.random.default_rng(1).integers(0, 256, size=(8, *shape), dtype=np.uint8)
    exact = real_network(name, Precision.FP32).features(clips)
    for precision in (Precision.FP16, Precision.TF32, Precision.AUTO):
        assert least_cosine(exact, real_network(name, precision).features(clips)) >= 0.9999


def test_frames_of_many_sizes_are_computed_with_and_without_graphs() -> None:
    network = real_network("resnet152", Precision.FP16, batch_rows=2)
    for width in range(224, 424, 10):
        clips = np.random.default_rng(width).integers(0, 256, size=(2, 1, 224, width, 3), dtype=np.uint8)
        rows = network.features(clips)
        assert all((network.features(clips) == rows).all() for _ in range(4)), width


class _Scaled(nn.Module):
    """A network of another package with a constant of its own in `forward`, float32 on `device`."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 16, 5, 2), nn.Identity()
        self._device = device

    def forward(self, clips: Tensor) -> Tensor:
        device = self._device if clips.is_cuda else "cpu"
        pooled: Tensor = self.conv(clips).mean(dim=(2, 3))
        return pooled @ torch.eye(16, device=device)


@pytest.mark.parametrize(
    ("constant", "precision", "refused"),
    [
        ("cpu", Precision.FP32, "fp32"),
        ("cpu", Precision.AUTO, "fp32"),
        ("cuda:0", Precision.FP16, "fp16"),
        ("cuda:0", Precision.BF16, "bf16"),
        ("cuda:0", Precision.FP32, ""),
        ("cuda:0", Precision.AUTO, ""),
    ],
)
def test_a_network_that_a_gpu_cannot_compute_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, constant: str, precision: Precision, refused: str
) -> None:
    spec = dataclasses.replace(TINY_2D, name="scaled")
    record = dataclasses.replace(tiny_record(spec), build=lambda: _Scaled(constant))
    monkeypatch.setitem(registry.EXTRACTORS, "scaled", record)
    options = NetworkOptions(weights=WeightsChoice.RANDOM, device="cuda:0", batch_rows=4, precision=precision)
    if refused:
        with pytest.raises(
            InvalidExtractorError, match=rf"scaled cannot compute in {refused} on cuda:0 \(RuntimeError"
        ):
            load_network("scaled", options)
        return
    assert load_network("scaled", options).precision in (Precision.FP32, Precision.TF32)
    left_out = {"fp16", "bf16"} if precision is Precision.AUTO else set()
    assert {each for each in Precision if f"scaled cannot compute in {each} on cuda:0" in caplog.text} == left_out
