"""What images and `make run TORCH=cpu` install, against the lock that tests and tools run with."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_IN_IMAGES = {"pytorchvideo", "torchvision"}
CUDA = re.compile(r"torch|triton|nvidia-.*|cuda-.*")


def pins(name: str) -> dict[str, set[str]]:
    """Return the versions that a lock pins of each package; some depend on the Python."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([a-z0-9-]+)==([^ ]+)", line):
            found.setdefault(match[1], set()).add(match[2])
    return found


def project() -> dict[str, list[str]]:
    content: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return content


def test_the_locks_of_images_pin_the_versions_that_tests_run_with() -> None:
    everything, torch, rest = map(pins, ("requirements.lock", "requirements-torch.lock", "requirements-run.lock"))
    assert all(CUDA.fullmatch(name) for name in torch)
    assert not [name for name in rest if CUDA.fullmatch(name)]
    assert {**torch, **rest}.items() <= everything.items()
    assert {name for name in everything if CUDA.fullmatch(name)} == set(torch)
    # Networks that users register may need these.
    assert everything.keys() - torch.keys() - rest.keys() >= NOT_IN_IMAGES
    direct = {re.split(r"[><=;\[ ]", text)[0].lower() for text in project()["dependencies"]}
    assert direct - NOT_IN_IMAGES <= torch.keys() | rest.keys()
    assert "s3fs" in rest, "containers read and write s3://"


def test_locks_hold_hashes_and_no_download_addresses() -> None:
    for name in ("requirements.lock", "requirements-torch.lock", "requirements-run.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text
        blocks = re.split(r"(?m)^(?=[a-z0-9-]+==)", text)[1:]
        assert blocks
        assert all("--hash=sha256:" in block for block in blocks)


def test_a_cpu_build_of_pytorch_has_the_projects_lower_bound() -> None:
    (wanted,) = [text for text in project()["dependencies"] if text.startswith("torch>")]
    assert f'"{wanted}"' in (ROOT / "tools/install_torch.sh").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("wheels", "expected"),
    [
        ("", ["--torch-backend", "cpu", "torch=={version}"]),
        ("torch-2.99.0+cpu-cp311-cp311-linux_x86_64.whl", ["--no-index", "--find-links", "{folder}", "torch>=2.11"]),
        ("numpy-2.0.0-py3-none-any.whl", ["--torch-backend", "cpu", "torch=={version}"]),
    ],
)
def test_the_cpu_build_comes_from_pytorchs_index_or_from_a_folder(
    tmp_path: Path, wheels: str, expected: list[str]
) -> None:
    if wheels:
        (tmp_path / wheels).touch()
    (version,) = pins("requirements-torch.lock")["torch"]
    found = install("cpu", tmp_path)
    wanted = [part.format(folder=tmp_path, version=version) for part in expected]
    assert found.stdout.split() == ["pip", "install", "--quiet", "--no-deps", "--python", "python3", *wanted]


def test_the_cuda_build_has_hashes_and_another_kind_is_an_error(tmp_path: Path) -> None:
    assert install("cuda", tmp_path).stdout.split()[-3:] == ["--require-hashes", "-r", "requirements-torch.lock"]
    wrong = install("gpu", tmp_path)
    assert wrong.returncode == 2
    assert "'gpu' is neither cpu nor cuda" in wrong.stderr


def install(kind: str, wheels: Path) -> subprocess.CompletedProcess[str]:
    """Run the script with a program that prints its arguments in place of uv, which would download."""
    return subprocess.run(
        ["/bin/sh", "tools/install_torch.sh", kind, "requirements-torch.lock", "--python", "python3"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "UV": "echo", "WHEELS": str(wheels)},
    )


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["-n", "run", "TORCH=cpu"], 0, "requirements-run.lock"),
        (["-n", "run"], 0, "--require-hashes -r requirements.lock"),
        (["-n", "test", "TORCH=cpu"], 2, "TORCH=cpu is for `make run`"),
        (["-n", "run", "TORCH=gpu"], 2, "TORCH is 'gpu'; it can be cuda or cpu"),
    ],
)
def test_make_installs_the_pytorch_that_was_asked_for(arguments: list[str], status: int, words: str) -> None:
    # VENV: one that does not exist, so that make says what it would install.
    answer = subprocess.run(
        [shutil.which("make") or "make", *arguments, "VENV=absent"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert answer.returncode == status
    assert words in answer.stdout + answer.stderr
