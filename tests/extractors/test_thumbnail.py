from __future__ import annotations

from pathlib import Path

import pytest

from reeldex.extractors.errors import ExtractionError
from reeldex.extractors.thumbnail import thumbnail
from tests.conftest import MakeVideo


def _jpeg_size(jpeg: bytes) -> tuple[int, int]:
    at = 2
    while jpeg[at + 1] not in (0xC0, 0xC1, 0xC2):  # the segment that holds the size
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return int.from_bytes(jpeg[at + 7 : at + 9], "big"), int.from_bytes(jpeg[at + 5 : at + 7], "big")


@pytest.mark.slow
def test_a_picture_is_small_and_keeps_the_video_s_shape(tmp_path: Path, make_video: MakeVideo) -> None:
    video = make_video(tmp_path / "-a b.mp4", seconds=2.0, size="640x360")
    jpeg = thumbnail(str(video), 1.0)
    assert jpeg.startswith(b"\xff\xd8")
    assert _jpeg_size(jpeg) == (160, 90)
    assert thumbnail(str(video), 0.0) != jpeg
    assert thumbnail(str(video), 99.0) == thumbnail(str(video), 0.0), "a time beyond the end"


@pytest.mark.parametrize("content", [None, b"", b"no video"])
def test_what_is_no_video_has_no_picture(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ExtractionError):
        thumbnail(str(path), 1.0)
