"""Markers that say what a test needs, and the switch that makes a missing GPU a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import conftest

PROJECT = Path(__file__).parents[1]
GPU_TESTS = "tests/extractors/test_gpu.py"


def run_pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "REELDEX_REQUIRE_GPU": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize(("variable", "required"), [("", False), ("0", False), ("1", True)])
def test_a_variable_requires_a_gpu_too(variable: str, *, required: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELDEX_REQUIRE_GPU", variable)
    parser = pytest.Parser(_ispytest=True)
    conftest.pytest_addoption(parser)
    assert parser.parse([]).require_gpu is required
    assert parser.parse(["--require-gpu"]).require_gpu is True


@pytest.mark.slow
@pytest.mark.parametrize(("switch", "code", "said"), [((), 0, "sees no CUDA"), (("--require-gpu",), 1, "asks for one")])
def test_gpu_tests_skip_without_a_gpu_unless_one_is_required(switch: tuple[str, ...], code: int, said: str) -> None:
    done = run_pytest(GPU_TESTS, *switch)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout
    assert ("skipped" if code == 0 else "error") in done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_tests_in_the_folder_system_are_marked_system() -> None:
    done = run_pytest("--collect-only", "-m", "not system", "tests/system")
    assert "no tests collected" in done.stdout, done.stdout
    assert "test_runs.py" not in done.stdout
