"""Markers that say what a test needs, and the switch that makes a missing GPU a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
GPU_TESTS = "tests/extractors/test_gpu.py"


def run_pytest(*arguments: str, require_gpu: str = "") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "REELDEX_REQUIRE_GPU": require_gpu}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("switch", "variable", "code", "said"),
    [
        ((), "", 0, "PyTorch sees no CUDA device"),
        ((), "0", 0, "PyTorch sees no CUDA device"),
        ((), "1", 1, "asks for one"),
        (("--require-gpu",), "", 1, "asks for one"),
    ],
)
def test_gpu_tests_skip_without_a_gpu_unless_one_is_required(
    switch: tuple[str, ...], variable: str, code: int, said: str
) -> None:
    done = run_pytest(GPU_TESTS, *switch, require_gpu=variable)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout
    assert ("skipped" if code == 0 else "error") in done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_tests_in_the_folder_system_are_marked_system() -> None:
    done = run_pytest("--collect-only", "-m", "not system", "tests/system")
    assert "no tests collected" in done.stdout, done.stdout
    assert "test_runs.py" not in done.stdout
