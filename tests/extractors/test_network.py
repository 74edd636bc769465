"""Networks: their names, random weights, folding, and what they refuse. Golden values are tested elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from reeldex.devices import resolve_device, usable_devices
from reeldex.errors import DeviceError
from reeldex.extractors.batch_norms import fold_batch_norms
from reeldex.extractors.errors import WeightsError
from reeldex.extractors.network import load_network
from reeldex.extractors.options import NetworkOptions, Precision, Runtime, WeightsChoice
from reeldex.extractors.preprocess import normalise
from reeldex.extractors.random_weights import random_state
from reeldex.extractors.registry import EXTRACTORS
from reeldex.extractors.runtimes.halving import in_fitting_parts
from reeldex.extractors.runtimes.network import Network
from reeldex.extractors.runtimes.pytorch import TorchNetwork
from tests.extractors.conftest import LoadTiny
from tests.networks.reeldex_test_networks import tiny_network

CONFORMANCE = Path(__file__).resolve().parents[2].parent / "shared" / "conformance"
NAMES = ("resnet152", "resnext101_3d")
# Over names, types, shapes and bytes: features made with random weights on two machines belong together.
RANDOM_WEIGHTS_SHA256 = {
    "resnet152": "1bc9c5efaf201c8723296f09f127fe76d0f9f419340e8ad4573c9f606c5fb895",
    "resnext101_3d": "c4584dfc90102275e3f91eb3e4881f75987f12f4b8582b511204c813735bca0b",
}


def noise_clips(frames_per_clip: int, count: int = 2, side: int = 112) -> NDArray[np.uint8]:
    """Clips (count, T, side, side, 3) uint8 of coarse noise, each of another grain."""
    generator = np.random.Generator(np.random.PCG64(5))
    clips = []
    for index in range(count):
        grain = 4 * 2**index
        cells = -(-side // grain)
        coarse = generator.integers(0, 256, (frames_per_clip, cells, cells, 3), np.uint8)
        clips.append(coarse.repeat(grain, 1).repeat(grain, 2)[:, :side, :side])
    return np.stack(clips)


@pytest.mark.parametrize(("name", "keys"), [(NAMES[0], "resnet152_keys.json"), (NAMES[1], "resnext101_keys.json")])
def test_the_published_parameters_are_the_networks_one_to_one(name: str, keys: str) -> None:
    if not CONFORMANCE.is_dir():
        pytest.skip("the lists of published parameter names lie outside this repository")
    published = json.loads((CONFORMANCE / keys).read_text())
    with torch.device("meta"):
        own = {key: list(value.shape) for key, value in EXTRACTORS[name].build().state_dict().items()}
    mapped = {EXTRACTORS[name].own_name(key): shape for key, shape in published.items()}
    assert len(mapped) == len(published)
    assert mapped == own


@pytest.mark.parametrize("name", NAMES)
def test_made_up_weights_are_the_same_everywhere_and_named_so(
    random_networks: dict[str, TorchNetwork], name: str
) -> None:
    network = random_networks[name]
    assert network.space == f"{name}.random"
    assert network.fingerprint["weights"] == {"sha256": RANDOM_WEIGHTS_SHA256[name]}
    assert network.fingerprint["precision"] == "float32"
    json.dumps(network.fingerprint)


@pytest.mark.parametrize("name", NAMES)
def test_every_batch_norm_of_a_network_is_folded(random_networks: dict[str, TorchNetwork], name: str) -> None:
    kinds = [type(module) for module in random_networks[name]._module.modules()]
    assert kinds.count(nn.BatchNorm2d) + kinds.count(nn.BatchNorm3d) == 0
    assert kinds.count(nn.Conv2d) + kinds.count(nn.Conv3d) > 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "blocks", "stages"), [("resnet152", 50, r"layer"), ("resnext101_3d", 33, r"stage")], ids=NAMES
)
def test_made_up_weights_carry_a_signal_through_every_block(
    random_networks: dict[str, TorchNetwork], name: str, blocks: int, stages: str
) -> None:
    network = random_networks[name]
    spreads: list[float] = []
    hooks = [
        block.register_forward_hook(lambda _module, _inputs, output: spreads.append(float(output.std())))
        for stage_name, stage in network._module.named_children()
        if stage_name.startswith(stages)
        for block in (stage if isinstance(stage, nn.Sequential) else stage.get_submodule("res_blocks")).children()
    ]
    clips = noise_clips(network.spec.frames_per_clip)
    going_in = float(normalise(torch.from_numpy(clips), network.spec).std())
    try:
        rows = network.features(clips)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(spreads) == blocks
    assert 0.05 < min(spreads) / going_in <= max(spreads) / going_in < 50
    assert rows.dtype == np.float16
    assert rows.shape == (2, 2048)
    assert np.linalg.norm(rows.astype(np.float64), axis=1) == pytest.approx(1, abs=2e-3)
    assert float(rows[0].astype(np.float64) @ rows[1].astype(np.float64)) < 0.9999, "different clips look different"


def test_made_up_weights_hang_on_the_parameters_name_alone() -> None:
    shapes = {"a.weight": (4, 3, 3), "b.weight": (4, 3, 3), "n.weight": (4,), "n.running_var": (4,)}
    state = random_state("net", shapes, ())
    assert (random_state("net", {"b.weight": (4, 3, 3)}, ())["b.weight"] == state["b.weight"]).all()
    assert not (state["a.weight"] == state["b.weight"]).all()
    assert not (random_state("other", shapes, ())["a.weight"] == state["a.weight"]).all()


def test_made_up_weights_have_the_variance_that_keeps_a_signal() -> None:
    weights = random_state("net", {"w": (512, 64, 3, 3)}, ())["w"].astype(np.float64)
    assert weights.var() == pytest.approx(2 / (64 * 9), rel=0.01)
    assert abs(weights.mean()) < 0.01 * weights.std()


@pytest.mark.parametrize("volumes", [False, True])
def test_folding_batch_norm_changes_nothing(*, volumes: bool) -> None:
    torch.manual_seed(0)
    network = tiny_network(volumes=volumes).double()
    generator = np.random.default_rng(1)
    with torch.no_grad():
        for name, value in network.get_submodule("norm").state_dict().items():
            if name != "num_batches_tracked":
                value.copy_(torch.from_numpy(generator.uniform(0.5, 2.0, value.shape)))
    network.eval()
    clips = torch.from_numpy(generator.normal(size=(2, 3, *((16,) if volumes else ()), 24, 24)))
    with torch.inference_mode():
        before = network(clips)
        fold_batch_norms(network)
        after = network(clips)
    assert isinstance(network.get_submodule("norm"), nn.Identity)
    assert torch.allclose(before, after, rtol=1e-12, atol=1e-12)


def test_a_batch_norm_that_does_not_follow_a_convolution_stays() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    fold_batch_norms(network)
    assert [type(module) for module in network] == [nn.BatchNorm2d, nn.Conv2d, nn.ReLU, nn.BatchNorm2d]


def tiny_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return dict(tiny_network(volumes=False).state_dict())


def load_tiny_file(path: Path, state: dict[str, torch.Tensor]) -> Network:
    torch.save(state, path)
    return load_network("tiny2d", NetworkOptions(weights_file=path, device="cpu", runtime=Runtime.TORCH))


def test_a_fitting_checkpoint_of_any_float_type_is_loaded_and_names_the_space(
    load_tiny: LoadTiny, tmp_path: Path
) -> None:
    network = load_tiny_file(tmp_path / "tiny.pth", tiny_state())
    assert network.space == "tiny2d.never_published"
    assert network.precision is Precision.FP32
    double = {name: value.double() if value.is_floating_point() else value for name, value in tiny_state().items()}
    clips = noise_clips(1, side=32)
    same = load_tiny_file(tmp_path / "double.pth", double)
    assert (same.features(clips) == network.features(clips)).all()
    assert same.fingerprint != network.fingerprint, "another file"


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        ({"conv.weight": None}, "conv.weight is missing"),
        ({"classifier.weight": torch.zeros(1)}, "classifier.weight is unknown"),
        ({"norm.bias": torch.zeros(7)}, r"norm.bias is \(7,\) instead of \(16,\)"),
        ({f"more.{index}": torch.zeros(1) for index in range(9)}, "more.4 is unknown and 4 more"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_parameter(
    load_tiny: LoadTiny, tmp_path: Path, change: dict[str, torch.Tensor | None], reported: str
) -> None:
    state = {name: value for name, value in {**tiny_state(), **change}.items() if value is not None}
    with pytest.raises(WeightsError, match=f"tiny.pth do not match.*{reported}"):
        load_tiny_file(tmp_path / "tiny.pth", state)


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
def test_half_precision_on_a_cpu_is_refused(load_tiny: LoadTiny, precision: Precision) -> None:
    options = NetworkOptions(weights=WeightsChoice.RANDOM, device="cpu", precision=precision)
    with pytest.raises(DeviceError, match=f"{precision} needs a CUDA device"):
        load_network("tiny2d", options)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "mps", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(DeviceError, match=r"Use .*auto"):
        resolve_device(device)


def test_auto_is_a_device_that_is_there() -> None:
    assert usable_devices("auto") == (tuple(f"cuda:{n}" for n in range(torch.cuda.device_count())) or ("cpu",))
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    "wrong",
    [{"batch_rows": 0}, {"weights": "made-up"}, {"precision": "fp8"}],
    ids=["batch_rows", "weights", "precision"],
)
def test_options_refuse_what_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        NetworkOptions(**wrong)


class Cramped:
    """Stands in for a device with room for so many clips: a real one cannot be filled up in a test."""

    space = "tiny2d.random"
    device = "cuda:0"

    def __init__(self, room: int, batch_rows: int) -> None:
        self.room, self.batch_rows = room, batch_rows
        self.sizes: list[int] = []
        self.freed = 0

    def compute(self, clips: NDArray[np.uint8]) -> list[int]:
        self.sizes.append(len(clips))
        if len(clips) > self.room:
            raise torch.OutOfMemoryError("full")
        return [int(clip.sum()) for clip in clips]

    def free(self) -> None:
        self.freed += 1

    def run(self, clips: NDArray[np.uint8]) -> list[int]:
        return [row for part in in_fitting_parts(self, clips, self.compute, self.free) for row in part]


@pytest.mark.parametrize(
    ("room", "batch_rows", "sizes"),
    [(8, 8, [8]), (4, 4, [8, 4, 4]), (3, 2, [8, 4, 2, 2, 2, 2])],
)
def test_a_batch_too_large_for_the_memory_is_halved(
    room: int, batch_rows: int, sizes: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    clips = noise_clips(1, count=4, side=32).repeat(2, axis=0)
    cramped = Cramped(room, batch_rows=8)
    assert cramped.run(clips) == [int(clip.sum()) for clip in clips]
    assert cramped.sizes == sizes
    assert cramped.batch_rows == batch_rows, "later batches are made no larger"
    assert cramped.freed == caplog.text.count("do not fit into the memory of cuda:0") == len(sizes) - 8 // batch_rows


def test_more_clips_than_a_batch_holds_are_taken_in_turn() -> None:
    clips = noise_clips(1, count=4, side=32)
    cramped = Cramped(room=8, batch_rows=3)
    assert cramped.run(clips) == [int(clip.sum()) for clip in clips]
    assert cramped.sizes == [3, 1]


def test_a_short_last_part_is_retried_with_smaller_batches_too() -> None:
    """It is filled up to a whole batch."""
    clips = noise_clips(1, count=2, side=32)
    cramped = Cramped(room=4, batch_rows=8)
    padded = lambda part: cramped.compute(np.resize(part, (cramped.batch_rows, *part.shape[1:])))[: len(part)]  # noqa: E731
    rows = in_fitting_parts(cramped, clips, padded, cramped.free)
    assert [row for part in rows for row in part] == [int(clip.sum()) for clip in clips]
    assert cramped.batch_rows == 4


def test_a_single_clip_too_large_for_the_memory_is_the_machines_fault() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        Cramped(room=0, batch_rows=8).run(noise_clips(1, side=32))
