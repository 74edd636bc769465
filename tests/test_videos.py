"""What the tests rely on of the videos that they make."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import MakeVideo
from tests.videos import made_video


def test_a_video_is_made_once_and_each_path_has_a_file_of_its_own(tmp_path: Path, make_video: MakeVideo) -> None:
    first, again = make_video(tmp_path / "a/first.mp4", seconds=0.2), make_video(tmp_path / "b/again.mp4", seconds=0.2)
    assert first.read_bytes() == again.read_bytes()
    assert first.stat().st_ino != again.stat().st_ino
    again.write_bytes(b"damaged")
    assert make_video(tmp_path / "c.mp4", seconds=0.2).read_bytes() == first.read_bytes()


def test_videos_of_other_arguments_or_containers_are_others(tmp_path: Path) -> None:
    source = ["-f", "lavfi", "-i", "testsrc2=size=64x64:duration=0.2", "-pix_fmt", "yuv420p"]
    made = [
        made_video(tmp_path / "a.mp4", *source),
        made_video(tmp_path / "a.mkv", *source),
        made_video(tmp_path / "b.mp4", *source, "-c:v", "mpeg4"),
    ]
    assert len({path.read_bytes() for path in made}) == 3
