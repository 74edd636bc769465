"""The script of a SLURM array: its tasks make one store together. SLURM only starts it with these variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeVideo
from tests.flows.stores import outcomes

SCRIPT = Path(__file__).resolve().parents[2] / "deploy/slurm/extract-array.sh"
OPTIONS = "--weights random --extractors wide2d --shard-videos 1 --device cpu --json"
VIDEOS = 4


def start(folder: Path, task: int) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "VIDEOS": "videos",
        "STORE": "store",
        "REELDEX": str(Path(sys.executable).with_name("reeldex")),
        "OPTIONS": OPTIONS,
        "TMPDIR": str(folder / "tmp"),
        "SLURM_ARRAY_JOB_ID": "17",
        "SLURM_ARRAY_TASK_ID": str(task),
    }
    return subprocess.Popen(
        ["/bin/bash", str(SCRIPT)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_the_tasks_of_an_array_share_the_shards_of_a_store(tmp_path: Path, make_video: MakeVideo) -> None:
    (tmp_path / "tmp").mkdir()
    for number in range(VIDEOS):
        make_video(tmp_path / f"videos/{number}.mp4", seconds=0.5)
    tasks = [start(tmp_path, task) for task in range(3)]
    try:
        answers = [task.communicate(timeout=500) for task in tasks]
    finally:
        for task in tasks:
            task.kill()
            task.wait()
    assert [task.returncode for task in tasks] == [0, 0, 0], answers
    reports = [json.loads(out) for out, _ in answers]
    # A task that found a shard claimed, and then done, has not done it.
    assert sum(report["extracted_ok"] for report in reports) == VIDEOS, answers
    assert all(report["with_features"] == VIDEOS for report in reports)
    assert len(outcomes(tmp_path / "store")) == VIDEOS
    assert list((tmp_path / "store/claims").iterdir()) == []
    assert list((tmp_path / "tmp").iterdir()) == [], "what a task keeps for itself is removed"


@pytest.mark.parametrize("absent", ["VIDEOS", "STORE"])
def test_the_script_says_what_it_lacks(absent: str) -> None:
    environment = {name: "x" for name in ("VIDEOS", "STORE", "PATH") if name != absent}
    answer = subprocess.run(["/bin/bash", str(SCRIPT)], env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert f"{absent}: set {absent} to the folder" in answer.stderr


def test_the_directives_come_before_the_first_command() -> None:
    lines = [line for line in SCRIPT.read_text(encoding="utf-8").splitlines() if line]
    directives = [number for number, line in enumerate(lines) if line.startswith("#SBATCH ")]
    commands = [number for number, line in enumerate(lines) if not line.startswith("#")]
    assert len(directives) >= 8
    assert directives[-1] < commands[0], "sbatch stops reading at the first command"
