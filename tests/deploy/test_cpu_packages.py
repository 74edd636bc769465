"""An installation with a CPU-only PyTorch, in images and of `make run TORCH=cpu`, extracts: it lacks some packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeVideo
from tests.deploy.test_locks import NOT_IN_IMAGES
from tests.flows.stores import RANDOM

# Python imports a module of this name when it starts, in worker processes too.
_HIDING = f"""
import importlib.metadata, sys

HIDDEN = {sorted(NOT_IN_IMAGES)}

class Hidden:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

def from_name(name, found=importlib.metadata.Distribution.from_name):
    if name in HIDDEN:
        raise importlib.metadata.PackageNotFoundError(name)
    return found(name)

sys.meta_path.insert(0, Hidden)
importlib.metadata.Distribution.from_name = staticmethod(from_name)
"""


@pytest.mark.slow
def test_an_extraction_needs_no_package_that_images_lack(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "videos" / "a.mp4")
    (tmp_path / "hiding").mkdir()
    (tmp_path / "hiding" / "sitecustomize.py").write_text(_HIDING, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "hiding")}
    for name in NOT_IN_IMAGES:
        asked = subprocess.run(
            [sys.executable, "-c", f"import {name}"], env=environment, capture_output=True, check=False
        )
        assert b"No module named" in asked.stderr
    command = [
        sys.executable,
        "-m",
        "reeldex",
        "extract",
        "videos",
        "--store",
        "store",
        *RANDOM,
        "--no-server",
        "--json",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["extracted_ok"] == 1
