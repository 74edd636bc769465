from __future__ import annotations

import io
import json
import multiprocessing
import os
import pickle
import random
from pathlib import Path
from typing import Any

import pytest

from reeldex import user_folders
from reeldex.embedding import caption_files, json_stream
from reeldex.embedding.caption_cache import CaptionFile
from reeldex.embedding.caption_files import open_captions
from reeldex.embedding.errors import DatasetError
from reeldex.embedding.json_stream import object_members
from reeldex.storage.schema import JSON
from reeldex.user_folders import FolderNotWritableError


def random_entries(count: int) -> dict[str, dict[str, Any]]:
    draw = random.Random(0)  # noqa: S311
    entries: dict[str, dict[str, Any]] = {}
    for video in range(count):
        starts = sorted(round(draw.uniform(0, 99), 2) for _ in range(draw.randrange(1, 9)))
        texts = [
            draw.choice(["stir", "café \N{COOKING}", "\ud800", '"quoted", \\ it\'s', "{[,:]}", ""]) for _ in starts
        ]
        entries[f"-{video}\N{GREEK SMALL LETTER ALPHA}"] = {
            "start": starts,
            "end": [s + 1 for s in starts],
            "text": texts,
        }
    return entries


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 1])
def test_members_are_those_of_the_whole_file_whatever_is_read_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int | None
) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", chunk)
    content: dict[str, Any] = {
        **random_entries(5),
        "number": 12345,
        "more": -1.5e300,
        "null": None,
        "text": 'a"\\',
        "none": {},
        "list": [],
    }
    path = tmp_path / "a.json"
    for each in (content, {}, {"n": 12}, {"a": float("inf")}):
        path.write_text(json.dumps(each, indent=indent))
        assert dict(object_members(path)) == each


@pytest.mark.parametrize("chunk", [1, 3, 1 << 20])
@pytest.mark.parametrize("indent", [None, 1])
def test_elements_of_an_array_are_taken_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int | None
) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", chunk)
    for array in ([], [1], [1.5, 1e-05, -2.5e20, 1e20], [[], [1, "], ["], {"a": [None]}, 12345]):
        opened = json_stream.JsonObject(
            io.StringIO(json.dumps({"before": 7, "array": array, "after": 12}, indent=indent))
        )
        found = {name: list(opened.elements()) if name == "array" else opened.value() for name in opened.names()}
        assert found == {"before": 7, "array": array, "after": 12}
    for text, problem in {
        '{"array": {}}': "an array does not begin at character 11",
        '{"array": [1 2]}': "neither a comma nor the end of the array stands at character 14",
        '{"array": [1, ]}': "Expecting value at character 15",
        '{"array": [1': "neither a comma nor the end of the array stands at character 13",
    }.items():
        opened = json_stream.JsonObject(io.StringIO(text))
        with pytest.raises(json_stream.JsonSyntaxError, match=problem):
            [list(opened.elements()) for _ in opened.names()]


def test_the_last_of_equal_names_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    entry = '{"start": [0], "end": [1], "text": ["%s"]}'
    path.write_text(f'{{"v": {entry % "a"}, "w": {entry % "b"}, "v": {entry % "c"}, "w": 3}}')
    captions = open_captions(path, tmp_path)
    assert captions.captions("v").texts == ("c",)
    assert "it holds a int" in str(captions.problem("w"))


def test_only_one_member_at_a_time_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(random_entries(2000)))
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", 1000)
    with path.open(encoding="utf-8") as file:
        opened = json_stream.JsonObject(file)
        longest = max(len(opened._buffer) for _ in opened.members())
    assert longest < 4000 < path.stat().st_size / 50


def test_a_cache_holds_what_its_source_does(tmp_path: Path) -> None:
    entries = random_entries(300)
    (tmp_path / "a.json").write_text(json.dumps(entries))
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(entries))
    for name in ("a.json", "a.pkl"):
        opened = open_captions(tmp_path / name, tmp_path / "cache")
        for captions in (opened, pickle.loads(pickle.dumps(opened))):  # noqa: S301
            assert len(captions) == len(entries)
            for video_id, entry in entries.items():
                found = captions.captions(video_id)
                assert [*map(list, (found.start_seconds, found.end_seconds, found.texts))] == list(entry.values())


def test_a_file_is_converted_once_and_again_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    conversions: list[Path] = []
    convert = caption_files._convert

    def counted(source: Path, cache: Path, about: dict[str, JSON]) -> None:
        conversions.append(source)
        convert(source, cache, about)

    monkeypatch.setattr(caption_files, "_convert", counted)
    path.write_text('{"v": {"start": [0], "end": [1], "text": ["a"]}}')
    before = open_captions(path, tmp_path / "cache")
    assert open_captions(path, tmp_path / "cache").captions("v").texts == ("a",)
    assert len(conversions) == 1
    path.write_text('{"v": {"start": [0], "end": [1], "text": ["b"]}}')
    os.utime(path, ns=(1, 1))
    assert open_captions(path, tmp_path / "cache").captions("v").texts == ("b",)
    assert before.captions("v").texts == ("a",), "what was open before stays readable"
    assert len(conversions) == 2
    before.cache.write_bytes(before.cache.read_bytes()[:-1])
    assert open_captions(path, tmp_path / "cache").captions("v").texts == ("b",)
    assert len(conversions) == 3
    before.cache.write_bytes(b"damaged")
    with pytest.raises(DatasetError, match="is not an intact cache"):
        CaptionFile(path, before.cache)


def test_a_conversion_that_fails_leaves_no_cache(tmp_path: Path) -> None:
    path, cache = tmp_path / "a.json", tmp_path / "cache"
    path.write_text('{"v": {"start": [0], "end": [1], "text": ["a"]}, "w": ')
    for _ in range(2):
        with pytest.raises(DatasetError, match="cannot be read as JSON"):
            open_captions(path, cache)
    assert [each.name for each in cache.iterdir() if not each.name.startswith(".lock")] == []


def test_a_cache_that_is_up_to_date_needs_no_writable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_text('{"v": {"start": [0], "end": [1], "text": ["a"]}}')
    cache = open_captions(tmp_path / "a.json", tmp_path / "cache").cache
    with monkeypatch.context() as patched:
        # Permissions do not hold up root, as which the tests may run.
        patched.setattr(user_folders, "make_writable", None)
        assert open_captions(tmp_path / "a.json", tmp_path / "cache").cache == cache
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(FolderNotWritableError, match="captions_cache or XDG_CACHE_HOME"):
        open_captions(tmp_path / "b.json", tmp_path / "a.json")


def test_no_videos_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    captions = open_captions(tmp_path / "a.json", tmp_path / "cache")
    assert len(captions) == 0
    assert "v" not in captions
    assert "no captions of the video 'v'" in str(captions.problem("v"))


def _texts(captions: CaptionFile, video_id: str) -> tuple[str, ...]:
    return captions.captions(video_id).texts


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_read_the_same_cache(tmp_path: Path, method: str) -> None:
    entries = random_entries(20)
    (tmp_path / "a.json").write_text(json.dumps(entries))
    captions = open_captions(tmp_path / "a.json", tmp_path / "cache")
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.starmap(_texts, [(captions, video_id) for video_id in entries])
    assert [list(texts) for texts in found] == [entry["text"] for entry in entries.values()]


def test_a_member_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", 10)
    monkeypatch.setattr(json_stream, "_LARGEST_MEMBER_CHARACTERS", 100)
    opened = json_stream.JsonObject(io.StringIO('{"v": "' + "x" * 10_000))
    with pytest.raises(ValueError, match="Unterminated string"):
        list(opened.members())
