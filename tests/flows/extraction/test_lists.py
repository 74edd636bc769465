from __future__ import annotations

from pathlib import Path

import pytest

from reeldex.errors import InfrastructureError, UsageError
from reeldex.flows.config.extraction import VideoIdRule
from reeldex.flows.config.fetching import FetchConfig
from reeldex.flows.config.pipeline import ExtractConfig
from reeldex.flows.extraction.lists import read_list
from reeldex.flows.extraction.patterns import PathFilter
from reeldex.flows.extraction.search_notes import NoteKind, SearchTally
from reeldex.flows.extraction.search_record import log_notes
from reeldex.flows.extraction.sources import _listed, find_videos
from reeldex.flows.extraction.video_ids import KnownIds, assign_ids
from reeldex.flows.fetching.services import Services
from reeldex.storage.schema import Span

CASES = Path(__file__).resolve().parents[3].parent / "shared" / "cases" / "lists"

Row = tuple[str, str | None, Span | None]


def rows(folder: Path, name: str, content: str | bytes) -> list[Row]:
    listing = folder / name
    listing.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(row.path, row.video_id, row.span) for row in read_list(listing)]


def only(path: str, video_id: str | None = None, start: float | None = None, end: float | None = None) -> list[Row]:
    return [(path, video_id, None if start is None else Span(start, end))]


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("u2028.csv", ["u\u2028sep", "v1"]),
        ("space_before.csv", ["v1"]),
        ("space_id.csv", ["first"]),
        ("semicolon.csv", ["v1"]),
        ("upper.csv", ["v1"]),
    ],
)
def test_the_reported_lists(tmp_path: Path, name: str, expected: list[str]) -> None:
    for video in ("v1.mp4", "u\u2028sep.mp4"):
        (tmp_path / video).write_bytes(b"video")
    (tmp_path / name).write_bytes((CASES / name).read_bytes())
    videos = find_videos(str(tmp_path / name), ExtractConfig()).videos
    assert [(each.video_id, each.size_bytes) for each in videos] == [(video_id, 5) for video_id in expected]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("l.csv", "\ufeffVideo Path,VIDEO_ID\na.mp4,x\n", only("a.mp4", "x")),
        ("l.csv", "FILE\r\na.mp4\r\n", only("a.mp4")),
        ("l.csv", "\n# made by hand\npath\n\n  \n#b.mp4\na.mp4\n", only("a.mp4")),
        ("l.csv", 'path\n"#1.mp4"\n', only("#1.mp4")),
        ("l.csv", '# it\'s "odd\npath\n# "open, quote\na.mp4\n', only("a.mp4")),
        ("l.csv", "path ; Video ID\na, b.mp4 ; x \n", only("a, b.mp4 ", "x")),
        ("l.csv", "path\tvideo_id\na, b.mp4\tx\n", only("a, b.mp4", "x")),
        ("l.tsv", "path\tvideo_id\na;b,c.mp4\tx\n", only("a;b,c.mp4", "x")),
        ("l.csv", '"path";"video_id"\n"a.mp4";"x"\n', only("a.mp4", "x")),
        ("l.csv", "id,path\n7,a.mp4,,\n", only("a.mp4")),
        ("l.csv", "path\na\rb\x0b\x0c\x1c\x85.mp4\n", only("a\rb\x0b\x0c\x1c\x85.mp4")),
        ("l.txt", "a\rb\u2028\u2029.mp4\r\n", only("a\rb\u2028\u2029.mp4")),
        ("l.txt", "\n  \n # c\na.mp4", only("a.mp4")),
        ("l.csv", 'path\n"a\nb.mp4"\n', only("a\nb.mp4")),
        ("l.csv", "path\n".encode("utf-16") + "a.mp4\n".encode("utf-16-le"), only("a.mp4")),
        ("l.csv", b"path\ncaf\xe9.mp4\n", only("caf\udce9.mp4")),
        ("l.csv", "path,start,end\na.mp4,1.5,2\n", only("a.mp4", None, 1.5, 2.0)),
        ("l.csv", "path,Start,END\na.mp4,1:02,1:00:00.5\n", only("a.mp4", None, 62.0, 3600.5)),
        ("l.csv", "path,start,end\na.mp4,,\n", only("a.mp4")),
        ("l.csv", "path,start,end\na.mp4,3,\n", only("a.mp4", None, 3.0)),
        ("l.csv", "path,start,end\na.mp4,,3\n", only("a.mp4", None, 0.0, 3.0)),
        ("l.jsonl", '{"Path": "a.mp4", "video_id": 7, "start": 1, "other": [1]}\n', only("a.mp4", "7", 1.0)),
        ("l.jsonl", '# c\n\n"a\u2028.mp4"\n', only("a\u2028.mp4")),
        ("l.ndjson", '{"file": "a.mp4", "video_id": null, "end": "0:09"}\n', only("a.mp4", None, 0.0, 9.0)),
    ],
)
def test_what_a_list_may_look_like(tmp_path: Path, name: str, content: str | bytes, expected: list[Row]) -> None:
    assert rows(tmp_path, name, content) == expected


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("l.csv", "a.mp4\nb.mp4\n", "no column video_path, path or file; its first line has: 'a.mp4'"),
        ("l.csv", "path,Path\na,b\n", "2 columns named path"),
        ("l.csv", "path\na, b.mp4\n", "line 2: 2 fields, while the header names 1 column"),
        ("l.csv", "path,start\n\na.mp4,soon\n", "line 3: the column start is 'soon', which is not a time"),
        ("l.csv", "path,start,end\na.mp4,5,5\n", "line 2: a clip needs 0 <= start < end"),
        ("l.csv", "path,start,end\na.mp4,-1,5\n", "line 2: a clip needs 0 <= start < end"),
        ("l.csv", "path,start\na.mp4,nan\n", "not a time"),
        ("l.csv", "path,start\na.mp4,1:75\n", "the column start is '1:75', which is not a time"),
        ("l.csv", 'path\n"a.mp4\n', "line 2: not valid CSV"),
        ("l.csv", "path,video_id\n,x\n", "line 2: there is no path"),
        ("l.jsonl", '{"path": "a"}\n{"path": 3}\n', "line 2: path cannot be 3"),
        ("l.jsonl", '{"video": "a"}\n', "line 1: there is no path"),
        ("l.jsonl", "[1]\n", "line 1: expected an object"),
        ("l.jsonl", "{\n", "line 1: not valid JSON"),
        ("l.txt", "a.mp4\0b\n", "NUL"),
        ("l.txt", "# nothing\n\n", "names no video"),
        ("l.csv", "path\n", "names no video"),
    ],
)
def test_what_a_list_must_not_look_like(tmp_path: Path, name: str, content: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        rows(tmp_path, name, content)
    assert said in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_a_message_quotes_little_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        rows(tmp_path, "l.csv", "x" * 100_000 + "\n")
    assert len(str(raised.value)) < 1000


def test_clips_without_ids_are_named_by_file_and_span(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("path,start,end\na.mp4,1.5,10\na.mp4,20,\nb/a.mp4,,\n", encoding="utf-8")
    videos = find_videos(str(tmp_path / "l.csv"), ExtractConfig()).videos
    assert [each.video_id for each in videos] == ["a_1.5_10", "a_20_end", "a"]
    assert [each.span for each in videos] == [Span(1.5, 10.0), Span(20.0, None), None]


def test_a_list_with_the_line_ends_of_old_macs_says_so(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_bytes(b"path,video_id\ra.mp4,x\rb.mp4,y\r")
    with pytest.raises(UsageError, match="lines end with CR alone"):
        read_list(tmp_path / "old.csv")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1:9/a.mp4", "http://127.0.0.1:9/a.mp4"])
def test_a_service_that_cannot_be_reached_is_named_with_the_line_of_the_list(tmp_path: Path, url: str) -> None:
    (tmp_path / "list.txt").write_text(f"# videos\n{url}\n")
    config = FetchConfig(retries=0)
    with pytest.raises(InfrastructureError, match=rf"list\.txt, line 2: {url} cannot be fetched: .*(reached|refused)"):
        find_videos(str(tmp_path / "list.txt"), ExtractConfig(), lambda _: KnownIds(), Services(config))


def test_ids_of_urls_are_their_names_or_what_tells_them_apart(tmp_path: Path) -> None:
    expected = {
        "https://host/deep/one.mp4": "one",
        "https://host/get?id=1": "get",
        "https://host/a%20b/c%20d.mp4": "a b/c d.mp4",
        "https://host/e/c%20d.mp4": "e/c d.mp4",
        "https://host/watch?v=1": "watch?v=1",
        "https://host/watch?v=2": "watch?v=2",
        "https://host/%2E%2E/x.mp4": "%2E%2E/x.mp4",
        "https://host/%00/x.mp4": "%00/x.mp4",
        "https://host/same/video.mp4": "host/same/video.mp4",
        "https://other/same/video.mp4": "other/same/video.mp4",
        "https://other/another/video.mp4": "another/video.mp4",
        "https://host/x/y%2Fz.mp4": "y%2Fz",
        "s3://bucket/100%25/talk.mp4": "100%25/talk.mp4",
        "s3://bucket/b/talk.mp4": "b/talk.mp4",
    }
    (tmp_path / "list.txt").write_text("\n".join(expected))
    tally = SearchTally()
    listing = tmp_path / "list.txt"
    files = list(_listed(listing, read_list(listing), PathFilter((), ()), tally))
    assert assign_ids(files, VideoIdRule.AUTO, KnownIds(), lambda _: True, tally) == list(expected.values())


@pytest.mark.parametrize(
    ("rule", "used", "said", "unsaid"),
    [
        (VideoIdRule.AUTO, VideoIdRule.AUTO, "of the lists an id of its own", "--video-id"),
        (VideoIdRule.AUTO, VideoIdRule.STEM, "--video-id path", "auto"),
        (VideoIdRule.STEM, VideoIdRule.STEM, "--video-id auto or path", "of its own"),
        (VideoIdRule.PATH, VideoIdRule.PATH, "of the lists an id of its own", "--video-id"),
    ],
)
def test_what_is_in_use_is_not_advised(
    caplog: pytest.LogCaptureFixture, rule: VideoIdRule, used: VideoIdRule, said: str, unsaid: str
) -> None:
    tally = SearchTally()
    tally.add(NoteKind.EQUAL_ID, "a: /b/a.mp4")
    log_notes(tally.notes(), rule, used)
    assert said in caplog.text
    assert unsaid not in caplog.text
