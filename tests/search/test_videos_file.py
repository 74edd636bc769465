"""The file of an index's videos has the bytes of the format, and is read row by row."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reeldex.embedding import json_stream
from reeldex.search.errors import IndexDamagedError
from reeldex.search.generation import Generation
from reeldex.search.video_records import VideoRecord, VideoRecords
from reeldex.search.videos_file import read_videos, write_videos
from tests.search.test_generation import GENERATION

VIDEOS = (VideoRecord("a", "/a\udcff", 1.5, "sig", 0, 1, 0, 0, 5), VideoRecord("b", "/b", 2.0, "sig", 0, 1, 5, 5, 10))
VIDEOS_TEXT = (
    r'{"fields": ["video_id", "path", "duration_seconds", "signature", "shard", "segment", "first_row", "first_id", '
    r'"moments"], "videos": [["a", "/a\udcff", 1.5, "sig", 0, 1, 0, 0, 5], ["b", "/b", 2.0, "sig", 0, 1, 5, 5, 10]]}'
)


def read(folder: Path, text: str, generation: Generation = GENERATION) -> tuple[VideoRecord, ...]:
    (folder / "videos-00007.json").write_text(text, encoding="utf-8")
    return tuple(read_videos(folder, generation))


def test_videos_have_the_bytes_of_the_format(tmp_path: Path) -> None:
    write_videos(tmp_path, 7, VideoRecords(VIDEOS))
    assert (tmp_path / "videos-00007.json").read_text(encoding="utf-8") == VIDEOS_TEXT
    assert tuple(read_videos(tmp_path, GENERATION)) == VIDEOS


def test_many_videos_with_any_texts_are_the_same_after_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = ("", "a/ü.mp4", "u\u0308", "\udce9", "\U0001f3ac", "nul\0", '"], [\\')
    records = VideoRecords(
        VideoRecord(odd[at % len(odd)], "/" + odd[-at % len(odd)] * at, at / 3, "x" * at, at, 1, at, at, 1)
        for at in range(100)
    )
    write_videos(tmp_path, 7, records)
    names = list(VideoRecords.fields)
    rows = [[getattr(record, name) for name in names] for record in records]
    written = (tmp_path / "videos-00007.json").read_text(encoding="utf-8")
    assert written == json.dumps({"fields": names, "videos": rows}), "as one call writes them"
    for chunk in (1, 7, 1 << 20):
        monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", chunk)
        assert list(read_videos(tmp_path, replace(GENERATION, videos=100, moments=100))) == list(records)


def test_videos_may_be_in_any_order_and_so_may_their_fields(tmp_path: Path) -> None:
    content = json.loads(VIDEOS_TEXT)
    content["videos"].reverse()
    assert read(tmp_path, json.dumps({**content, "more": [1]}, indent=1)) == VIDEOS
    turned = {"fields": content["fields"][::-1], "videos": [row[::-1] for row in content["videos"]]}
    assert read(tmp_path, json.dumps(turned)) == VIDEOS


def test_no_videos_are_no_videos(tmp_path: Path) -> None:
    write_videos(tmp_path, 7, VideoRecords())
    assert tuple(read_videos(tmp_path, replace(GENERATION, videos=0, moments=0))) == ()


def changed(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:  # noqa: ANN401 - JSON values
    return lambda content: {**content, key: value}


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda content: [content], "an object does not begin at character 1"),
        (lambda content: {"videos": content["videos"]}, "TypeError"),
        (lambda content: {"fields": content["fields"]}, "the 2 videos"),
        (changed("videos", {}), "an array does not begin at character"),
        (changed("fields", None), "TypeError"),
        (changed("fields", {}), r"the fields are \[\] instead of \['video_id', "),
        (lambda content: {"fields": [*content["fields"][:-1], "x"], "videos": content["videos"]}, "'x'\\] instead of"),
        (lambda content: changed("videos", [content["videos"][0]])(content), "the 2 videos"),
        (lambda content: changed("videos", [row[:-1] for row in content["videos"]])(content), "'moments' is missing"),
        (lambda content: changed("videos", [[*row, 1] for row in content["videos"]])(content), "at most 9 items"),
        (
            lambda content: changed("videos", [[1, *row[1:]] for row in content["videos"]])(content),
            "field 'video_id': ",
        ),
        (lambda content: changed("videos", [[*row[:-1], 1.5] for row in content["videos"]])(content), "'moments': "),
        (
            lambda content: changed("videos", [[*row[:-1], 2**63] for row in content["videos"]])(content),
            "OverflowError",
        ),
        (
            lambda content: changed("videos", [[*row[:2], "1", *row[3:]] for row in content["videos"]])(content),
            "seconds",
        ),
        (changed("videos", [None, 3]), "ValueError"),
    ],
)
def test_damaged_videos_are_refused(tmp_path: Path, damage: Callable[[dict[str, Any]], Any], why: str) -> None:
    with pytest.raises(IndexDamagedError, match=f"does not hold .*{why}.*index --rebuild"):
        read(tmp_path, json.dumps(damage(json.loads(VIDEOS_TEXT))))


@pytest.mark.parametrize("size", [0, 1, 40, len(VIDEOS_TEXT) // 2, len(VIDEOS_TEXT) - 1])
def test_videos_cut_short_are_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(IndexDamagedError, match="does not hold the videos of an index"):
        read(tmp_path, VIDEOS_TEXT[:size])


def test_videos_that_are_not_text_are_refused_in_few_words(tmp_path: Path) -> None:
    (tmp_path / "videos-00007.json").write_bytes(b"\xff" * 1000)
    with pytest.raises(IndexDamagedError, match="UnicodeDecodeError") as refused:
        read_videos(tmp_path, GENERATION)
    assert len(str(refused.value)) < 500
    with pytest.raises(IndexDamagedError, match=r"non-finite|finite number"):
        read(tmp_path, VIDEOS_TEXT.replace("1.5", "NaN"))
