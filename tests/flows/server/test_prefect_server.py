from __future__ import annotations

import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import MakeVideo

pytestmark = pytest.mark.slow


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server
            return True
    except OSError:
        return False


@pytest.mark.slow
def test_a_run_is_recorded_by_the_server_that_the_settings_name(
    tmp_path: Path, make_video: MakeVideo, server: dict[str, str]
) -> None:
    make_video(tmp_path / "videos" / "a.mp4", seconds=0.3)
    arguments = ["extract", "videos", "--store", "store", "--weights", "random", "--extractors", "resnet152"]
    answer = subprocess.run(
        [sys.executable, "-m", "reeldex", *arguments],
        cwd=tmp_path,
        env=server,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{server['PREFECT_API_URL']}/flow_runs/filter", data=b"{}", headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        runs = response.read().decode()
    assert '"state_type":"COMPLETED"' in runs
    assert "videos" in runs
