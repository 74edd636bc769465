"""However a command is ended, its children end within 5 seconds, and no process holds its output open."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeVideo
from tests.flows.captioned import TRAIN, data_of, make_captioned, own_words
from tests.processes import processes_that_name
from tests.slow_reading import path_with_slow_ffmpeg
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

SECONDS = 5.0


def _start(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PREFECT_HOME": str(folder / "prefect"), "XDG_STATE_HOME": str(folder / "state")}
    return subprocess.Popen(
        [sys.executable, "-m", "reeldex", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def _wait(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    wait_until(ready, 240, process=process)


def _leaves_nothing(process: subprocess.Popen[str], number: signal.Signals, folder: Path) -> None:
    process.send_signal(number)
    process.wait(60)
    ended = time.monotonic()
    process.communicate(timeout=SECONDS)  # readers of its output see its end
    wait_until(
        lambda: not processes_that_name(str(folder)),
        ended + SECONDS - time.monotonic(),
        details=lambda: str(
            [Path(f"/proc/{each}/cmdline").read_bytes().decode() for each in processes_that_name(str(folder))]
        ),
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_an_extraction_leaves_no_worker_or_decoder(
    tmp_path: Path, make_video: MakeVideo, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", path_with_slow_ffmpeg(tmp_path))
    videos, store = tmp_path / "videos", tmp_path / "store"
    make_video(videos / "a short.mp4", seconds=0.5)
    make_video(videos / "very long.mp4", seconds=600, rate=1)
    process = _start(tmp_path, "extract", videos, "--store", store, "--weights", "random", "--extractors", "wide2d")
    _wait(process, lambda: bool(list(store.glob("staging/*/*.h5"))) and len(processes_that_name("very long.mp4")) > 0)
    assert len(processes_that_name(str(tmp_path / "prefect"))) >= 2, "the command, its worker"
    _leaves_nothing(process, number, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_training_leaves_no_reader(tmp_path: Path, number: signal.Signals) -> None:
    data = data_of(make_captioned(tmp_path))
    options = (*own_words(tmp_path), *TRAIN, "--epochs", 1_000_000, "--workers", 2)
    process = _start(tmp_path, "train", *data, "--out", tmp_path / "run", *options)
    _wait(process, lambda: bool(list((tmp_path / "run").glob("*.pth"))))
    assert len(processes_that_name(str(tmp_path / "prefect"))) >= 3, "the command, two readers"
    _leaves_nothing(process, number, tmp_path)
