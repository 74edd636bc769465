"""OpenVINO beside PyTorch: the same features, the models that are kept on disk, and who computes what."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reeldex import devices
from reeldex.cached_files import UNUSED_SECONDS
from reeldex.devices import usable_cores
from reeldex.errors import DeviceError
from reeldex.extractors import registry
from reeldex.extractors.network import load_network
from reeldex.extractors.options import NetworkOptions, Precision, Runtime, WeightsChoice
from reeldex.extractors.runtimes import converted
from reeldex.extractors.runtimes.network import Network, least_cosine, normalised
from tests.networks import packages
from tests.networks.reeldex_test_networks import TINY_2D, TINY_3D, tiny_record

SHAPES = {"tiny2d": (5, 1, 40, 56, 3), "tiny3d": (5, 16, 24, 24, 3)}


def load(name: str, runtime: Runtime, cache: Path, batch_rows: int | None = None) -> Network:
    options = NetworkOptions(
        weights=WeightsChoice.RANDOM, device="cpu", runtime=runtime, converted_folder=cache, batch_rows=batch_rows
    )
    return load_network(name, options)


def clips_of(name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.Generator(np.random.PCG64(3)).integers(0, 256, SHAPES[name], np.uint8)


@pytest.mark.parametrize("name", SHAPES)
def test_openvino_computes_what_pytorch_computes(name: str, tmp_path: Path) -> None:
    clips = clips_of(name)
    ours, slow = load(name, Runtime.OPENVINO, tmp_path), load(name, Runtime.TORCH, tmp_path)
    expected = slow.raw_features(clips)
    assert np.linalg.norm(ours.raw_features(clips) - expected) <= 1e-5 * np.linalg.norm(expected)
    assert least_cosine(ours.features(clips), slow.features(clips)) > 0.999999
    assert ours.fingerprint == slow.fingerprint, "both belong to one feature space"
    assert (ours.runtime.split()[0], slow.runtime.split()[0]) == ("openvino", "torch")


@pytest.mark.parametrize("name", SHAPES)
def test_a_row_of_openvino_depends_on_its_clip_alone(name: str, tmp_path: Path) -> None:
    clips = clips_of(name)
    one_by_one = load(name, Runtime.OPENVINO, tmp_path, batch_rows=1).features(clips)
    network = load(name, Runtime.OPENVINO, tmp_path, batch_rows=1)
    pending = [network.submit(clips[index : index + 1]) for index in range(3)]
    assert (np.concatenate([each.wait() for each in reversed(pending)]) == one_by_one[2::-1]).all()
    assert (network.features(clips[::-1])[::-1] == one_by_one).all()


def test_frames_of_another_size_may_follow(tmp_path: Path) -> None:
    ours, slow = (load("tiny2d", runtime, tmp_path) for runtime in (Runtime.OPENVINO, Runtime.TORCH))
    for size in ((40, 56), (56, 40), (33, 77), (40, 56)):
        clips = np.random.Generator(np.random.PCG64(4)).integers(0, 256, (2, 1, *size, 3), np.uint8)
        assert least_cosine(ours.features(clips), slow.features(clips)) > 0.999999


def test_rows_are_normalised_one_by_one_and_zeros_stay_zeros() -> None:
    raw = np.array([[3, 4], [0, 0], [-5, 12]], np.float32)
    expected = np.array([[0.6, 0.8], [0, 0], [-5 / 13, 12 / 13]], np.float16)
    assert (normalised(raw) == expected).all()


def test_a_conversion_runs_the_network_once() -> None:
    module = tiny_record(TINY_2D).build().eval()
    runs: list[int] = []
    module.register_forward_pre_hook(lambda *_: runs.append(1))
    converted.convert(module, TINY_2D)
    assert len(runs) == 1


def test_a_kept_model_needs_no_pytorch_and_gives_the_same_rows(tmp_path: Path) -> None:
    clips = clips_of("tiny2d")
    first = load("tiny2d", Runtime.OPENVINO, tmp_path)
    np.save(tmp_path / "clips.npy", clips)
    script = f"""
import sys
from pathlib import Path
import numpy as np
from reeldex.extractors.network import load_network
from reeldex.extractors.options import NetworkOptions, Runtime, WeightsChoice
options = NetworkOptions(weights=WeightsChoice.RANDOM, device="cpu", converted_folder=Path({str(tmp_path)!r}))
network = load_network("tiny2d", options)
np.save({str(tmp_path / "rows.npy")!r}, network.features(np.load({str(tmp_path / "clips.npy")!r})))
assert "torch" not in sys.modules, "PyTorch takes seconds to import"
print(network.fingerprint["weights"]["sha256"])
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == first.fingerprint["weights"]["sha256"]
    assert (np.load(tmp_path / "rows.npy") == first.features(clips)).all()


@pytest.mark.parametrize("damaged", ["model.xml", "model.bin", "model.json"])
def test_a_damaged_cached_model_is_converted_again(
    tmp_path: Path, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    clips = clips_of("tiny2d")
    expected = load("tiny2d", Runtime.OPENVINO, tmp_path).features(clips)
    (kept,) = tmp_path.iterdir()
    whole = (kept / damaged).read_bytes()
    (kept / damaged).write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING, "reeldex"):
        assert (load("tiny2d", Runtime.OPENVINO, tmp_path).features(clips) == expected).all()
    assert f"{kept / damaged} is damaged" in caplog.text
    assert (kept / "model.bin").stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [kept.name], "nothing unfinished stays"


def test_models_that_are_no_longer_used_are_removed_when_another_is_cached(tmp_path: Path) -> None:
    load("tiny2d", Runtime.OPENVINO, tmp_path)
    (old,) = tmp_path.iterdir()
    recent, foreign = tmp_path / f"tiny2d-{'0' * 16}", tmp_path / "my-notes"
    for each in (recent, foreign):
        shutil.copytree(old, each)
    month_ago = time.time() - UNUSED_SECONDS - 60
    for each in (old, recent, foreign):
        os.utime(each / "model.json", (month_ago, month_ago))
    load("tiny2d", Runtime.OPENVINO, tmp_path)
    assert (old / "model.json").stat().st_mtime > month_ago, "it is used"
    os.utime(old / "model.json", (month_ago, month_ago))
    os.utime(recent / "model.json")
    load("tiny3d", Runtime.OPENVINO, tmp_path)
    names = {path.name.partition("-")[0] for path in tmp_path.iterdir() if path not in (recent, foreign)}
    assert names == {"tiny3d"}
    assert (recent / "model.bin").is_file()
    assert (foreign / "model.bin").is_file()


def test_other_weights_are_another_kept_model(tmp_path: Path) -> None:
    folders = {converted.kept_folder(tmp_path, spec, sha) for spec in (TINY_2D, TINY_3D) for sha in ("a", "b")}
    assert len(folders) == 4


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with caplog.at_level(logging.WARNING, "reeldex"):
        network = load("tiny2d", Runtime.OPENVINO, blocked)
    assert network.features(clips_of("tiny2d")).shape == (5, 16)
    assert f"could not be cached in {blocked}" in caplog.text


class _Unheard(nn.Module):
    """A network with an operation that OpenVINO does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 16, 5), nn.Linear(16, 4)

    def forward(self, frames: Tensor) -> Tensor:
        features: Tensor = self.fc(torch.special.bessel_j0(self.conv(frames)).mean(dim=(2, 3)))
        return features


def test_what_openvino_cannot_compute_pytorch_does_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    record = tiny_record(TINY_2D)
    odd = registry.ExtractorRecord(record.spec, _Unheard, record.pretrained, str, ())
    monkeypatch.setitem(registry.EXTRACTORS, "tiny2d", odd)
    with caplog.at_level(logging.WARNING, "reeldex"):
        network = load("tiny2d", Runtime.AUTO, tmp_path)
    assert network.runtime.startswith("torch")
    assert "OpenVINO cannot compute tiny2d" in caplog.text
    with pytest.raises(DeviceError, match=r"OpenVINO cannot compute tiny2d.*Use runtime torch"):
        load("tiny2d", Runtime.OPENVINO, tmp_path)


class _Deciding(nn.Module):
    """A network whose code decides by the values or the size of its input, which a conversion cannot follow."""

    def __init__(self, *, by_size: bool) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 16, 5), nn.Linear(16, 4)
        self._by_size = by_size

    def forward(self, frames: Tensor) -> Tensor:
        values = self.conv(frames)
        if self._by_size:
            features = values.reshape(len(values), 16, int(values.shape[2]) * int(values.shape[3])).mean(dim=2)
        else:
            features = values.mean(dim=(2, 3)) * (1 if frames.any() else torch.linspace(-1, 1, 16))
        found: Tensor = self.fc(features)
        return found


@pytest.mark.parametrize("by_size", [False, True])
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_what_openvino_computes_otherwise_pytorch_does_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, by_size: bool
) -> None:
    deciding = dataclasses.replace(tiny_record(TINY_2D), build=functools.partial(_Deciding, by_size=by_size))
    monkeypatch.setitem(registry.EXTRACTORS, "tiny2d", deciding)
    with caplog.at_level(logging.WARNING, "reeldex"):
        network = load("tiny2d", Runtime.AUTO, tmp_path)
    assert network.runtime.startswith("torch")
    assert re.search(
        r"OpenVINO (computes other features of|cannot compute) tiny2d.* Using PyTorch instead", caplog.text
    )
    assert list(tmp_path.iterdir()) == []


_CODE = """
import dataclasses
from torch import nn
from reeldex.extractors.registry import extractor

class Other(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 16, 5), nn.Linear(16, 4)

    def forward(self, frames):
        return self.fc(self.conv(frames).relu().mean(dim=(2, 3)))

old = extractor("tiny2d")
RECORD = dataclasses.replace(old, spec=dataclasses.replace(old.spec, name="mine"), build=Other)
"""


def test_a_network_is_converted_again_when_its_code_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, cache = packages.install(tmp_path, monkeypatch, _CODE, "mine = other:RECORD"), tmp_path / "cache"
    clips = clips_of("tiny2d")
    first = load("mine", Runtime.OPENVINO, cache).features(clips)
    assert (load("mine", Runtime.OPENVINO, cache).features(clips) == first).all()
    assert len(list(cache.iterdir())) == 1
    module.write_text(_CODE.replace(".relu()", ".abs()"))
    del registry.EXTRACTORS["mine"], sys.modules["other"]
    importlib.invalidate_caches()
    changed = load("mine", Runtime.OPENVINO, cache).features(clips)
    assert len(list(cache.iterdir())) == 2
    assert (changed != first).any()


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        ({"device": "cuda:0"}, "supports only the CPU, not cuda:0"),
        ({"device": "cpu", "precision": Precision.FP16}, "fp16 needs a CUDA device"),
    ],
)
def test_openvino_refuses_what_it_cannot_do(options: dict[str, str], reported: str) -> None:
    with pytest.raises(DeviceError, match=reported):
        load_network("tiny2d", NetworkOptions(weights="random", runtime="openvino", **options))  # type: ignore[arg-type]


def test_auto_is_openvino_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load("tiny3d", Runtime.AUTO, tmp_path).runtime.startswith("openvino")
    monkeypatch.setattr(devices, "_DRIVERS", ())
    assert not devices.has_cuda()
    assert devices.usable_devices("auto") == ("cpu",)


def test_more_batches_than_cores_may_be_submitted_before_any_is_waited_for(tmp_path: Path) -> None:
    clips = clips_of("tiny2d")
    network = load("tiny2d", Runtime.OPENVINO, tmp_path)
    expected = network.features(clips)
    pending = [network.submit(clips[index : index + 1]) for _ in range(8) for index in range(len(clips))]
    assert len(pending) > network.batches_in_flight
    found = [each.wait() for each in reversed(pending)][::-1]
    assert (np.concatenate(found[: len(clips)]) == expected).all()


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1), ("?", 8)]
)
def test_a_containers_share_of_the_cores_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    (tmp_path / "cpu.max").write_text(f"{quota}\n", encoding="ascii")
    assert usable_cores(tmp_path / "cpu.max") == cores
    assert usable_cores(tmp_path / "absent") == 8


_DROPPED_BY_A_THREAD = """
import gc, os, signal, sys, threading
from pathlib import Path
from reeldex.extractors.network import load_network
from reeldex.extractors.options import NetworkOptions

options = NetworkOptions(weights="random", device="cpu", runtime="openvino", converted_folder=Path(sys.argv[1]))
networks = [load_network("tiny2d", options)]
signal.signal(signal.SIGUSR1, lambda *_: print("handled", flush=True))
thread = threading.Thread(target=lambda: (networks.clear(), gc.collect()))
thread.start()
thread.join()
os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.mark.slow
def test_a_network_that_another_thread_drops_leaves_the_process_able_to_handle_signals(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _DROPPED_BY_A_THREAD, str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
