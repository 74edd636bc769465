from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo
from tests.flows.stores import WIDE
from tests.processes import processes_that_name
from tests.slow_reading import path_with_slow_ffmpeg
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def test_ctrl_c_ends_the_run_at_once_keeps_what_is_finished_and_leaves_no_process(
    tmp_path: Path, make_video: MakeVideo
) -> None:
    videos = tmp_path / "videos"
    for index in range(3):
        make_video(videos / f"short {index}.mp4", seconds=0.5)
    make_video(videos / "very long.mp4", seconds=600, rate=1)
    command = [sys.executable, "-m", "reeldex", "extract", str(videos), "--store", str(tmp_path / "store")]
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PATH": path_with_slow_ffmpeg(tmp_path),
    }
    process = subprocess.Popen(
        [*command, *WIDE], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr is not None
    wait_until(lambda: len(list((tmp_path / "store").glob("staging/*/*.h5"))) >= 2, 240, process=process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)  # the long video alone would take longer
    assert process.returncode == 130
    assert "Finished work is kept" in err
    assert processes_that_name(str(videos)) == []
    assert processes_that_name(str(tmp_path / "prefect")) == []
    status = FeatureStore(tmp_path / "store").status()
    assert status.staged >= 2
    assert status.pending == 4
