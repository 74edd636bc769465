"""Extractors of other installed packages: found by their entry points, refused in words, checked before use."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from reeldex.extractors import other_networks, registry
from reeldex.extractors.errors import InvalidExtractorError, UnknownExtractorError
from reeldex.extractors.modules import load_module
from reeldex.extractors.options import NetworkOptions, WeightsChoice
from reeldex.extractors.registry import ExtractorRecord, extractor, extractor_names, extractor_of_space
from reeldex.extractors.weights import PretrainedWeights
from tests.networks import packages
from tests.networks.reeldex_test_networks import TINY_2D, TINY_3D, tiny_record

Install = Callable[[str, str], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package `other` with one module and these entry points: `install(code, "name = other:RECORD")`."""
    return functools.partial(packages.install, tmp_path, monkeypatch)


def test_an_installed_package_adds_extractors(install: Install) -> None:
    assert extractor("tiny2d").spec.feature_dim == TINY_2D.feature_dim
    assert extractor_of_space("tiny3d.random")[1] is WeightsChoice.RANDOM
    assert extractor_names()[:2] == ("resnet152", "resnext101_3d"), "those of the paper first"
    assert {"tiny2d", "tiny3d"} < set(extractor_names())
    with pytest.raises(UnknownExtractorError, match=r"'tiny2'. Did you mean 'tiny2d'\?.*resnet152.*tiny3d"):
        extractor("tiny2")
    install("raise RuntimeError('loaded')", "mine = other:RECORD")
    assert "mine" in extractor_names(), "a name is known without loading its package"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1/0", r"cannot be loaded \(ZeroDivisionError: division by zero\)"),
        ("", r"cannot be loaded \(AttributeError"),
        ("import absent_package", r"cannot be loaded \(ModuleNotFoundError: No module named 'absent_package'\)"),
        ("RECORD = 7", "'other:RECORD' is int, not an ExtractorRecord of that name"),
        (
            "from reeldex.extractors.registry import extractor\nRECORD = extractor('resnet152')",
            "is a record named 'resnet152', not an ExtractorRecord of that name",
        ),
    ],
)
def test_a_package_that_cannot_be_used_says_why_and_harms_no_other(install: Install, code: str, said: str) -> None:
    install(code, "mine = other:RECORD")
    with pytest.raises(InvalidExtractorError, match=rf"'mine' of the package 'other' .*{said}.*[Cc]orrect"):
        extractor("mine")
    assert extractor("resnet152").spec.name == "resnet152"


def test_two_packages_with_one_name_are_both_named(install: Install) -> None:
    install("RECORD = 7", "tiny2d = other:RECORD")
    registry.EXTRACTORS.pop("tiny2d", None)
    with pytest.raises(InvalidExtractorError, match=r"'tiny2d': other, reeldex-test-networks\. Uninstall all"):
        extractor("tiny2d")


def test_a_package_cannot_take_the_place_of_a_network_of_the_paper(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    registry._warn_of_taken_name.cache_clear()
    install("RECORD = 7", "resnet152 = other:RECORD")
    assert extractor("resnet152").pretrained.tag == "imagenet1k_v1"
    assert extractor_names().count("resnet152") == 1
    assert "The package other registers the extractor 'resnet152', a name of the HowTo100M paper" in caplog.text


def test_the_order_of_names_does_not_depend_on_what_was_used() -> None:
    names = extractor_names()
    extractor("wide3d")
    assert extractor_names() == names == (*names[:2], *sorted(names[2:]))


@pytest.mark.parametrize(
    ("name", "tag", "said"),
    [
        ("My Net", "v1", "The name of an extractor .*'My Net'"),
        ("a.b", "v1", "The name of an extractor"),
        ("net", "V-1", "The name of weights .*'V-1'"),
        ("net", "random", "'random' is the name of untrained weights"),
    ],
)
def test_names_make_a_feature_space(name: str, tag: str, said: str) -> None:
    spec = dataclasses.replace(TINY_2D, name=name)
    with pytest.raises(ValueError, match=said):
        ExtractorRecord(spec, nn.Identity, PretrainedWeights(tag, "http://127.0.0.1:9/x.pth"))


class _Other(nn.Module):
    """A network with a convolution, a normalisation and a classifier; `forward` is computed as `order` says."""

    def __init__(self, order: str, classifier: str = "fc") -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 16, 5, 2), nn.BatchNorm2d(16)
        setattr(self, classifier, nn.Linear(16, 4))
        self._order = order

    def forward(self, clips: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self._order == "norm":
            return self.norm(clips)  # type: ignore[no-any-return]
        values: Tensor = self.conv(clips)
        if self._order == "conv relu":
            return values, values.relu()
        values = self.norm(values.relu()) if self._order == "conv relu norm" else self.norm(values).relu()
        values = values if self._order == "no pooling" else values.mean(dim=(2, 3))
        found: Tensor = getattr(self, "fc", nn.Identity())(values)
        return found


class _OfIndices(nn.Module):
    """A clip network whose convolution is one of frames; a buffer of indices and a parameter without axes are saved."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 16, 5, 2), nn.Linear(16, 4)
        self.register_buffer("order", torch.zeros(16, dtype=torch.int64))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, clips: Tensor) -> Tensor:
        frames = clips.permute(0, 2, 1, 3, 4).flatten(0, 1)
        values: Tensor = self.conv(frames).mean(dim=(2, 3)).unflatten(0, (len(clips), -1)).mean(dim=1)
        found: Tensor = self.fc(values[:, self.get_buffer("order")] + self.scale)
        return found


class _ReadingItsNorm(_Other):
    """A network that computes with the parts of its normalisation, which it therefore needs."""

    def forward(self, clips: Tensor) -> Tensor:
        mean, var = self.norm.running_mean, self.norm.running_var
        values = nn.functional.batch_norm(self.conv(clips), mean, var).mean(dim=(2, 3))
        found: Tensor = self.get_submodule("fc")(values)
        return found


def test_a_network_that_needs_its_norms_keeps_them(tmp_path: Path) -> None:
    loaded = _loaded(lambda: _ReadingItsNorm("conv norm relu"), tmp_path)
    assert isinstance(loaded.norm, nn.BatchNorm2d)


def test_weights_are_given_the_networks_names_and_types(tmp_path: Path) -> None:
    file = tmp_path / "other.pth"
    state = _Other("conv norm relu").state_dict()
    torch.save({f"model.{name}": value.half() for name, value in state.items()}, file)
    options = NetworkOptions(device="cpu", weights_file=file)
    record = dataclasses.replace(tiny_record(TINY_2D), build=lambda: _Other("conv norm relu"))
    renamed = dataclasses.replace(record, own_name=lambda name: name.removeprefix("model."))
    module, _ = load_module(renamed, options)
    assert {value.dtype for value in module.parameters()} == {torch.float32}
    for own_name, said in (
        (lambda name: name.split(".")[7], "`own_name` of tiny2d cannot rename .*IndexError"),
        (lambda _: "same", "`own_name` of tiny2d gives several parameters one name"),
    ):
        with pytest.raises(InvalidExtractorError, match=said):
            load_module(dataclasses.replace(record, own_name=own_name), options)


def test_code_is_told_apart_by_its_file_and_by_what_is_bound_to_it() -> None:
    of = registry._code_of
    assert of(_Other) == of(_ReadingItsNorm) != of(registry.extractor)
    assert of(functools.partial(_Other, "a")) != of(functools.partial(_Other, "b"))
    assert of(_Other) == of(lambda: 7), "both are in this file"
    assert len(of(len)) == 64


class _Computing(nn.Module):
    """A network that computes a buffer, which its state does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 4)
        self.register_buffer("window", torch.ones(3), persistent=False)


def _loaded(build: Callable[[], nn.Module], folder: Path) -> nn.Module:
    record = dataclasses.replace(tiny_record(TINY_2D), build=build)
    return load_module(record, NetworkOptions(weights=WeightsChoice.RANDOM, device="cpu", weights_folder=folder))[0]


@pytest.mark.parametrize("weights", WeightsChoice)
def test_a_network_may_have_indices_scalars_and_layers_of_frames(tmp_path: Path, weights: WeightsChoice) -> None:
    plain: nn.Module = _OfIndices()
    plain.get_buffer("order").copy_(torch.arange(16).flip(0))
    file = tmp_path / "other.pth"
    torch.save(plain.state_dict(), file)
    record = dataclasses.replace(tiny_record(TINY_3D), build=_OfIndices)
    local = file if weights is WeightsChoice.PRETRAINED else None
    loaded, _ = load_module(
        record, NetworkOptions(weights=weights, device="cpu", weights_file=local, weights_folder=tmp_path)
    )
    assert loaded.get_buffer("order").dtype == torch.int64
    assert loaded.get_submodule("conv").weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[operator]
    clips = torch.randn(2, 3, 16, 24, 24, generator=torch.Generator().manual_seed(1))
    plain.fc = nn.Identity()
    with torch.inference_mode():
        assert loaded(clips).shape == (2, 16)
        if local is not None:
            assert torch.allclose(loaded(clips), plain(clips), rtol=1e-4, atol=1e-5)


def test_weights_of_other_addresses_are_other_files_and_a_hash_in_a_name_is_kept(install: Install) -> None:
    code = (
        "import dataclasses\n"
        "from reeldex.extractors.registry import extractor\n"
        "from reeldex.extractors.weights import PretrainedWeights\n"
        "def of(name, tag, url):\n"
        "    old = extractor('tiny2d')\n"
        "    spec = dataclasses.replace(old.spec, name=name)\n"
        "    return dataclasses.replace(old, spec=spec, pretrained=PretrainedWeights(tag, url))\n"
        "A = of('a', 'v1', 'http://127.0.0.1:9/a/model.pth')\n"
        "B = of('b', 'v1', 'http://127.0.0.1:9/b/model.pth')\n"
        "C = of('c', 'v1', 'http://127.0.0.1:9/model-0123abcd.pth')\n"
    )
    install(code, "a = other:A\nb = other:B\nc = other:C")
    names = [extractor(name).pretrained.file_name for name in "abc"]
    assert names[0].startswith("a.v1.")
    assert names[1].startswith("b.v1.")
    assert names[2] == "model-0123abcd.pth"
    moved = PretrainedWeights("v1", "http://127.0.0.1:9/moved/model.pth?download=1")
    assert moved.file_name == "model.pth"
    own = registry._with_own_file(dataclasses.replace(extractor("a"), pretrained=moved)).file_name
    assert own.startswith("a.v1.")
    assert own != names[0]
    for url in ("model.pth", "http://127.0.0.1:9/", "ftp://127.0.0.1:9/model.pth"):
        with pytest.raises(ValueError, match="weights need an http"):
            PretrainedWeights("v1", url)


@pytest.mark.parametrize("order", ["conv norm relu", "conv relu norm"])
def test_norms_are_folded_only_where_that_computes_the_same(tmp_path: Path, order: str) -> None:
    plain = _Other(order).eval()
    noise = torch.Generator().manual_seed(1)
    for values in (plain.norm.running_mean, plain.norm.running_var, plain.norm.weight.data, plain.norm.bias.data):
        assert values is not None
        values.copy_(torch.rand(16, generator=noise) + 0.5)
    weights = tmp_path / "other.pth"
    torch.save(plain.state_dict(), weights)
    plain.fc = nn.Identity()
    record = dataclasses.replace(tiny_record(TINY_2D), build=lambda: _Other(order))
    loaded, _ = load_module(record, NetworkOptions(device="cpu", weights_file=weights))
    clips = torch.randn(3, 3, 32, 40, generator=noise)
    with torch.inference_mode():
        assert torch.allclose(loaded(clips), plain(clips), rtol=1e-4, atol=1e-5)
    assert isinstance(loaded.norm, nn.BatchNorm2d) == (order == "conv relu norm")


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: _Other("conv norm relu", "head"), "tiny2d, _Other, is no PyTorch module with a classifier named `fc`"),
        (lambda: _Other("no pooling"), r"tiny2d returns \(2, 16, 14, 14\) for a batch of 2, not \(2, 16\)"),
        (_Computing, "tiny2d computes window while it is built"),
        (lambda: 1 / 0, r"tiny2d cannot be built \(ZeroDivisionError: .*meta"),
        (lambda: 7, "The network of tiny2d, int, is no PyTorch module"),
        (lambda: _Other("conv relu"), r"tiny2d returns tuple for a batch of 2, not \(2, 16\)"),
        (lambda: _Other("norm"), r"tiny2d cannot compute a batch of \(2, 3, 32, 32\) on the CPU \(.*16"),
    ],
    ids=["no fc", "not pooled", "computed buffer", "no build", "no module", "two values", "another input"],
)
def test_a_network_that_is_not_as_its_record_says_is_refused(
    tmp_path: Path, build: Callable[[], nn.Module], said: str
) -> None:
    with pytest.raises(InvalidExtractorError, match=said):
        _loaded(build, tmp_path)


@pytest.mark.parametrize(
    "fault",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        torch.AcceleratorError("device lost", 1),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        OSError(28, "No space left on device"),
    ],
    ids=str,
)
def test_a_fault_of_the_machine_is_not_the_networks(fault: Exception) -> None:
    with pytest.raises(type(fault), match=r"\w") as raised, other_networks.computing(TINY_2D, "in fp32", "Correct it."):
        raise fault
    assert raised.value is fault


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (TypeError(7), "TypeError: 7"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling"), "RuntimeError: CUDA error: CUBLAS.*g"),
        (
            RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM\nin file"),
            "RuntimeError: cuDNN error: CUDNN_STATUS_BAD_PARAM",
        ),
        (ValueError(), "ValueError: "),
    ],
    ids=["type", "cuBLAS", "cuDNN", "silent"],
)
def test_what_a_network_cannot_compute_is_refused_in_a_line(fault: Exception, said: str) -> None:
    with (
        pytest.raises(InvalidExtractorError, match=rf"^\S.* tiny2d cannot compute in fp32 \({said}\)\. Correct it\.$"),
        other_networks.computing(TINY_2D, "in fp32", "Correct it."),
    ):
        raise fault
