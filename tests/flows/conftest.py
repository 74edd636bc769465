"""The command line run in this process, over folders of good and broken videos."""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import MakeVideo
from tests.waiting import wait_until


class Answer(NamedTuple):
    """What a command answered."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the command answers
        return json.loads(self.out)


Reeldex = Callable[..., Answer]


@pytest.fixture
def reeldex(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reeldex:
    """Run `reeldex` in an empty folder: `reeldex("status", store, "--json")`."""
    from reeldex.cli.main import main

    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(status, captured.out, captured.err)

    return run


@pytest.fixture
def mixed_folder(tmp_path: Path, make_video: MakeVideo) -> Path:
    """Two good videos and one of each kind of broken file."""
    from reeldex.extractors import ffmpeg

    folder = tmp_path / "videos"
    good = make_video(folder / "good one.mp4", seconds=1.2)
    make_video(folder / "-größe.mkv", seconds=0.3, size="96x128")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("this is no video\n", encoding="utf-8")
    (folder / "cut off.mp4").write_bytes(good.read_bytes()[:2000])
    (folder / "playlist.mp4").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{good}\n#EXT-X-ENDLIST\n", encoding="utf-8"
    )
    quiet = [ffmpeg.executable(), "-v", "error", "-nostdin"]
    sound = ["-f", "lavfi", "-i", "sine=duration=1", ffmpeg.input_url(str(folder / "sound only.mp4"))]
    subprocess.run([*quiet, *sound], check=True)
    whole = make_video(tmp_path / "whole.mkv", seconds=9.0, size="320x240")
    (folder / "truncated.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    os.mkfifo(folder / "pipe.mp4")
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Prefect server of its own on loopback; gives the environment that names it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/api"
    try:
        log_text = (tmp_path / "server.log").read_text
        wait_until(lambda: _answers(f"{url}/health"), 120, process=process, details=log_text)
        yield {**environment, "PREFECT_API_URL": url}
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server
            return True
    except (urllib.error.URLError, OSError):
        return False
