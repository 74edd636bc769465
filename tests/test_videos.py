"""The cache of test videos."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import cache, videos
from tests.conftest import MakeVideo
from tests.videos import cached_video


@pytest.fixture
def encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An empty cache; what ffmpeg makes for it is noted."""
    made: list[str] = []
    run_ffmpeg = videos.run_ffmpeg

    def noted(*arguments: str | Path) -> None:
        made.append(str(arguments[-1]))
        run_ffmpeg(*arguments)

    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(videos, "run_ffmpeg", noted)
    return made


def test_a_video_is_encoded_once_and_each_path_has_a_file_of_its_own(
    tmp_path: Path, make_video: MakeVideo, encoded: list[str]
) -> None:
    first, again = make_video(tmp_path / "a/first.mp4", seconds=0.2), make_video(tmp_path / "b/again.mp4", seconds=0.2)
    content = first.read_bytes()
    again.write_bytes(b"damaged")
    assert first.read_bytes() == content
    assert make_video(tmp_path / "c.mp4", seconds=0.2).read_bytes() == content
    assert len(encoded) == 1


def test_different_arguments_or_containers_give_different_videos(tmp_path: Path, encoded: list[str]) -> None:
    source = ["-f", "lavfi", "-i", "testsrc2=size=64x64:duration=0.2", "-pix_fmt", "yuv420p"]
    made = [
        cached_video(tmp_path / "a.mp4", *source),
        cached_video(tmp_path / "a.mkv", *source),
        cached_video(tmp_path / "b.mp4", *source, "-c:v", "mpeg4"),
    ]
    assert len({path.read_bytes() for path in made}) == len(encoded) == 3


def test_two_encodings_of_one_video_are_the_same(
    tmp_path: Path, make_video: MakeVideo, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = []
    for folder in ("one", "two"):
        monkeypatch.setattr(cache, "CACHE", tmp_path / folder)
        contents.append(make_video(tmp_path / f"{folder}.mkv", seconds=0.4).read_bytes())
    assert contents[0] == contents[1]
    assert len(encoded) == 2
