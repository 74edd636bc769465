"""Files over HTTP: ranges, validators, HEAD, and nothing but what the index names."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from reeldex.search.page.live_index import video_key
from tests.search.page.fixed_searcher import FixedSearcher, FixedVideo, page_options, running_page
from tests.search.page.page_requests import get

COLOURS = f"/videos/{video_key('colours')}"


@pytest.fixture
def content(fixed_index: FixedSearcher) -> bytes:
    return Path(fixed_index.videos()["colours"].path).read_bytes()


def test_a_whole_file(page: httpx.Client, content: bytes) -> None:
    answer = page.get(COLOURS)
    assert answer.status_code == 200
    assert answer.content == content
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("header", "first", "last"), [("bytes=0-99", 0, 99), ("bytes=1000-", 1000, -1), ("bytes=-7", -7, -1)]
)
def test_a_range_of_a_file(page: httpx.Client, content: bytes, header: str, first: int, last: int) -> None:
    size = len(content)
    answer = page.get(COLOURS, headers={"Range": header})
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {first % size}-{last % size}/{size}"
    assert answer.content == content[first % size : last % size + 1]
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_a_range_behind_the_end(page: httpx.Client, content: bytes) -> None:
    answer = page.get(COLOURS, headers={"Range": f"bytes={len(content)}-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(content)}"
    assert answer.content == b""


@pytest.mark.parametrize("header", ["bytes=5-2", "bytes=x", "bytes=0-1,4-5", "apples=1-2", "bytes=" + "1" * 3000])
def test_a_range_that_is_none_gives_the_whole_file(page: httpx.Client, content: bytes, header: str) -> None:
    answer = page.get(COLOURS, headers={"Range": header})
    assert answer.status_code == 200
    assert len(answer.content) == len(content)


def test_if_range_gives_a_range_only_of_the_same_file(page: httpx.Client) -> None:
    whole = page.head(COLOURS)
    for name in ("etag", "last-modified"):
        same = page.get(COLOURS, headers={"Range": "bytes=0-9", "If-Range": whole.headers[name]})
        assert same.status_code == 206
    for other in ('"another"', f"W/{whole.headers['etag']}", "Mon, 01 Jan 2001 00:00:00 GMT"):
        changed = page.get(COLOURS, headers={"Range": "bytes=0-9", "If-Range": other})
        assert changed.status_code == 200


def test_head_sends_no_bytes_and_an_unchanged_file_is_not_sent_again(page: httpx.Client, content: bytes) -> None:
    head = page.head(COLOURS, headers={"Range": "bytes=0-9"})
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(content)
    again = page.get(COLOURS, headers={"If-None-Match": f'"x", {head.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")


def test_a_changed_file_has_another_tag(fixed_index: FixedSearcher, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    with running_page(FixedSearcher([FixedVideo("a", str(path), 1.0)], []), page_options(tmp_path / "c")) as address:
        one = get(f"{address}/videos/{video_key('a')}")
        path.write_bytes(b"two")
        two = get(f"{address}/videos/{video_key('a')}")
    assert (one.content, two.content) == (b"one", b"two")
    assert one.headers["etag"] != two.headers["etag"]


def test_what_is_no_readable_regular_file_is_not_opened_for_long(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "page.html").write_text("<script>alert(1)</script>")
    (tmp_path / "empty.mp4").touch()
    names = ["pipe.mp4", "folder.mp4", "page.html", "gone.mp4", "nul\0.mp4", "empty.mp4"]
    videos = [FixedVideo(name, str(tmp_path / name), 1.0) for name in names]
    with running_page(FixedSearcher(videos, []), page_options(tmp_path / "cache")) as address:
        answers = {name: get(f"{address}/videos/{video_key(name)}") for name in names}
        picture = get(f"{address}/pictures/{video_key('pipe.mp4')}/0.jpg")
    statuses = {name: answer.status_code for name, answer in answers.items()}
    assert statuses == {
        "pipe.mp4": 403,
        "folder.mp4": 403,
        "page.html": 200,
        "gone.mp4": 404,
        "nul\0.mp4": 404,
        "empty.mp4": 200,
    }
    assert answers["page.html"].headers["content-type"] == "application/octet-stream"
    assert picture.status_code == 403
    assert str(tmp_path) not in answers["gone.mp4"].text, "where files lie is not the browser's business"


def test_a_video_without_a_file_says_so(page: httpx.Client) -> None:
    answer = page.get(f"/videos/{video_key('fileless')}")
    assert answer.status_code == 404
    assert "no file" in answer.json()["error"]["message"]
