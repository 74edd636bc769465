from __future__ import annotations

import pytest

from reeldex.containers import VIDEO_SUFFIXES, suffixes_of
from reeldex.extractors.ffmpeg import CONTAINERS

_VIDEOS = (
    "mp4 mkv webm m2t m2ts mod tod insv tp ogg swf mk3d dv nut gxf wtv dvr-ms nuv roq amv pva mjpg 264 265 y4m bik smk "
    "4xm ty vro lrv"
)


def test_the_endings_of_every_admitted_container_are_known() -> None:
    unknown = []
    for demuxer in CONTAINERS.split(","):
        try:
            suffixes_of(demuxer)
        except KeyError:
            unknown.append(demuxer)
    assert unknown == [], "add its endings, or an empty text for a container of sound or of still pictures"


@pytest.mark.parametrize("ending", _VIDEOS.split())
def test_video_endings(ending: str) -> None:
    assert f".{ending}" in VIDEO_SUFFIXES


@pytest.mark.parametrize("ending", ["mp3", "m4a", "wav", "flac", "jpg", "png", "txt", "csv", "srt", "heic"])
def test_sound_pictures_and_text_are_not_searched(ending: str) -> None:
    assert f".{ending}" not in VIDEO_SUFFIXES
