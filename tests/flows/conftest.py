"""The command line run in this process, over folders of good and broken videos."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import MakeVideo


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
