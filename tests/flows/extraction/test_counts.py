"""What a whole command looks at, in all of its processes: one search, one inspection per shard, one hash per file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from reeldex.extractors.options import WeightsChoice
from reeldex.extractors.random_weights_cache import cached_random_state
from reeldex.extractors.registry import extractor
from reeldex.extractors.weights import cache_folder
from tests.conftest import MakeVideo
from tests.flows.conftest import flow_runs
from tests.flows.counted import counted, counting

pytestmark = pytest.mark.slow

# A file of features is hashed in the workspace of the shard's claim, before it has its name.
_DRAFT = re.compile(r"hash store/claims/\.publishing-\w+/\w+")
_FEATURES = f"store/features/{extractor('wide2d').space(WeightsChoice.PRETRAINED)}"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A checkpoint of wide2d without a known hash."""
    record = extractor("wide2d")
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in record.build().state_dict().items()}
    cached_random_state("wide2d", shapes, record.branch_gain_suffixes)
    path = tmp_path / "mine.pth"
    path.symlink_to(next(cache_folder().glob("random-wide2d.*.pth")))
    return path


def _extract(folder: Path, weights: Path, environment: Mapping[str, str], *more: str) -> dict[str, Any]:
    network = ("--weights-file", f"wide2d={weights}", "--extractors", "wide2d")
    options = (*network, "--shard-videos", "1", "--device", "cpu", "--runtime", "torch", "--json", *more)
    answer = subprocess.run(
        [sys.executable, "-m", "reeldex", "extract", "videos", "--store", "store", *options],
        cwd=folder,
        env=counting(environment, folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    report: dict[str, Any] = json.loads(answer.stdout)
    return report


def _looks(inspected: tuple[int, ...], published: tuple[int, ...], weights: Path) -> dict[str, int]:
    """Return what a command should look at, each once. The hash of each published file is part of its outcomes."""
    looks = dict.fromkeys(["search", *(f"inspect {shard}" for shard in inspected)], 1)
    return looks | ({f"hash {weights}": 1, "hash a draft": len(published)} if published else {})


def _counted(folder: Path) -> dict[str, int]:
    found: Counter[str] = Counter()
    for call, times in counted(folder).items():
        found["hash a draft" if _DRAFT.fullmatch(call) else call] += times
    return found


def _three_runs(folder: Path, make_video: MakeVideo, weights: Path, environment: Mapping[str, str], *more: str) -> None:
    for name in ("a", "b"):
        make_video(folder / "videos" / f"{name}.mp4", seconds=0.3)
    assert _extract(folder, weights, environment, *more)["shards_done"] == 2
    assert _counted(folder) == _looks((0, 1), (0, 1), weights)
    make_video(folder / "videos" / "c.mp4", seconds=0.3)
    (folder / _FEATURES / "shard-00001.h5").unlink()
    assert _extract(folder, weights, environment, *more)["shards_done"] == 2
    assert _counted(folder) == _looks((0, 1, 2), (1, 2), weights)
    assert _extract(folder, weights, environment, *more)["shards_done"] == 0
    assert _counted(folder) == _looks((0, 1, 2), (), weights)


def test_a_command_looks_at_everything_once(tmp_path: Path, make_video: MakeVideo, weights: Path) -> None:
    _three_runs(tmp_path, make_video, weights, os.environ, "--no-server")


def test_a_command_that_creates_a_flow_run_looks_at_everything_once(
    tmp_path: Path, make_video: MakeVideo, weights: Path, server: dict[str, str]
) -> None:
    _three_runs(tmp_path, make_video, weights, server, "--server")
    states = sorted(run["state"]["name"] for run in flow_runs(server["PREFECT_API_URL"]))
    assert states == ["Completed", "Completed", "Nothing new"]
