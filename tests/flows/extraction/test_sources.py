from __future__ import annotations

import os
import re
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from reeldex.errors import UsageError
from reeldex.flows.config.pipeline import ExtractConfig
from reeldex.flows.extraction.sources import FoundVideos, find_videos
from reeldex.flows.extraction.video_ids import KnownIds


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"video")
    return path


def found(*sources: Path | str, **options: Any) -> FoundVideos:  # noqa: ANN401 - any option
    return find_videos([str(each) for each in sources], ExtractConfig(**options))


def ids(*sources: Path | str, **options: Any) -> list[str]:  # noqa: ANN401 - any option
    return [entry.video_id for entry in found(*sources, **options).videos]


def test_a_folder_is_searched_in_order_for_files_with_a_videos_ending(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.MKV", "sub/c.webm", "notes.txt", ".hidden.mp4", ".trash/d.mp4"):
        touch(tmp_path / name)
    assert ids(tmp_path) == ["a", "b", "c"]
    assert ids(tmp_path, video_id="path") == ["a.MKV", "b.mp4", "sub/c.webm"]


def test_entries_carry_absolute_path_size_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = touch(tmp_path / "folder" / "a.mp4")
    monkeypatch.chdir(tmp_path)
    (entry,) = found("folder").videos
    assert (entry.path, entry.size_bytes, entry.mtime_ns) == (str(file), 5, file.stat().st_mtime_ns)


@pytest.mark.parametrize(
    "name", ["-dash.mp4", "a b.mp4", 'it\'s "q".mp4', "50%d.mp4", "c:d.mp4", "line\nbreak.mp4", "日本.mp4"]
)
def test_odd_names_make_ids(tmp_path: Path, name: str) -> None:
    touch(tmp_path / name)
    assert ids(tmp_path) == [name.removesuffix(".mp4")]


def test_a_name_that_is_not_utf8_makes_a_printable_id_and_keeps_its_path(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    Path(os.fsdecode(raw)).write_bytes(b"video")
    (entry,) = found(str(tmp_path)).videos
    assert entry.video_id == r"caf\xe9"
    assert os.fsencode(entry.path) == raw


def test_one_file_is_a_source_whatever_its_ending(tmp_path: Path) -> None:
    assert ids(touch(tmp_path / "clip.data")) == ["clip"]
    assert ids(touch(tmp_path / "..mp4")) == ["..mp4"], "its stem is a single dot, which names no dataset"


def test_a_text_list_names_files_from_its_own_folder_on(tmp_path: Path) -> None:
    touch(tmp_path / "videos" / "a.mp4")
    listing = tmp_path / "list.txt"
    listing.write_text(f"videos/a.mp4\n\n{tmp_path}/gone.mp4\n", encoding="utf-8")
    there, gone = found(str(listing)).videos
    assert (there.video_id, there.size_bytes) == ("a", 5)
    assert (gone.video_id, gone.size_bytes, gone.mtime_ns) == ("gone", None, None)


def test_a_csv_list_may_give_ids(tmp_path: Path) -> None:
    touch(tmp_path / "a, b.mp4")
    listing = tmp_path / "list.csv"
    listing.write_text('video_path,feature_path,video_id\n"a, b.mp4",x.npy,first\nb.mp4,y.npy,\n', encoding="utf-8")
    assert ids(listing) == ["first", "b"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name,id\na.mp4,1\n", "no column video_path, path or file; its first line has: 'name', 'id'"),
        ("video_path\n\n", "names no video"),
        ("video_path,video_id\na.mp4,../up\n", "line 2"),
        ("video_path,video_id\n,x\n", "line 2: there is no path"),
    ],
)
def test_a_list_that_cannot_be_used_says_where(tmp_path: Path, content: str, said: str) -> None:
    listing = tmp_path / "list.csv"
    listing.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError) as raised:
        found(listing)
    assert said in str(raised.value)


def test_nothing_to_extract_is_an_error_that_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no videos in .*\.mp4"):
        found(tmp_path)
    with pytest.raises(UsageError, match="no file or folder"):
        found(tmp_path / "none")


def test_what_was_written_to_just_now_is_set_apart(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    for name in ("old.mp4", "copied.mp4"):
        (folder / name).write_bytes(b"x")
    time.sleep(0.6)  # time is tested: the kernel alone sets a file's ctime
    # Its modification time is a year ago, as a copying program may set it; it was written now all the same.
    (folder / "copied.mp4").write_bytes(b"xy")
    os.utime(folder / "copied.mp4", (time.time() - 31_536_000,) * 2)
    found = find_videos(str(folder), ExtractConfig(settle_seconds=0.5))
    assert [[entry.video_id for entry in part] for part in (found.videos, found.unsettled)] == [["old"], ["copied"]]
    everything = find_videos(str(folder), ExtractConfig())
    assert (len(everything.videos), everything.unsettled) == (2, [])
    (folder / "missing.txt").write_text("nowhere.mp4\n", encoding="utf-8")
    listed = find_videos(str(folder / "missing.txt"), ExtractConfig(settle_seconds=60))
    assert len(listed.videos) == 1, "an absent file has an outcome of its own"


def kinds(*sources: Path | str, **options: Any) -> dict[str, int]:  # noqa: ANN401 - any option
    return {str(note.kind): note.count for note in found(*sources, **options).notes}


def test_linked_folders_are_searched_once_and_never_in_a_circle(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    for file in (root / "a.mp4", other / "deep" / "in_link.mp4", root / "real" / "b.mp4"):
        touch(file)
    (root / "linked").symlink_to(other)
    (root / "Again").symlink_to(root / "real")  # before the folder itself in the order of names
    (root / "up").symlink_to("..")
    (other / "back").symlink_to(root)
    (root / "itself").symlink_to("itself")
    (root / "nowhere").symlink_to("gone")
    assert [Path(entry.path).relative_to(root).as_posix() for entry in found(root).videos] == [
        "a.mp4",
        "real/b.mp4",
        "linked/deep/in_link.mp4",
    ]
    assert kinds(root) == {"broken_link": 2, "repeated_link": 3}


def test_what_is_not_searched_is_counted_and_named(tmp_path: Path) -> None:
    for name in ("a.mp4", "n.txt", "p/q.TXT", "p/readme", ".hidden/b.mp4", "raw/c.mp4", "d.gif"):
        touch(tmp_path / name)
    notes = {str(note.kind): str(note) for note in found(tmp_path, exclude=("raw", "*.gif")).notes}
    assert notes == {
        "other_ending": "3 files with other endings (2 .txt, such as n.txt, 1 without an ending, such as p/readme, "
        "...)",
        "hidden": "1 hidden file or folder (.hidden)",
        "excluded": "2 files or folders excluded by patterns (d.gif, raw/)",
    }


def test_a_folder_that_cannot_be_read_is_noted_as_a_failure(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    # Too long a path is an error of the system that root meets too.
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(18):
        os.mkdir("d" * 250, dir_fd=at)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)
    (note,) = found(tmp_path).notes
    assert (note.kind, note.count, note.is_failure) == ("unreadable_folder", 1, True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"include": ("*.mp4",)}, ["P01/a.mp4", "P01/raw/b.mp4", "P02/c.mp4"]),
        ({"include": ("P01",)}, ["P01/a.mp4", "P01/d.MKV", "P01/raw/b.mp4"]),
        ({"include": ("P01/*",)}, ["P01/a.mp4", "P01/d.MKV", "P01/raw/b.mp4"]),
        ({"include": ("P01/*.mp4",)}, ["P01/a.mp4"]),
        ({"include": ("**/*.mp4",), "exclude": ("**/raw/**",)}, ["P01/a.mp4", "P02/c.mp4"]),
        ({"include": ("P0[!1]/*.mp?",)}, ["P02/c.mp4"]),
        ({"include": ("*.dat",)}, ["P02/e.dat"]),
        ({"exclude": ("raw", "P02/c.mp4")}, ["P01/a.mp4", "P01/d.MKV"]),
        ({"exclude": ("*.mp4",)}, ["P01/d.MKV"]),
    ],
)
def test_patterns_include_and_exclude(tmp_path: Path, options: dict[str, Any], expected: list[str]) -> None:
    for name in ("P01/a.mp4", "P01/d.MKV", "P01/raw/b.mp4", "P02/c.mp4", "P02/e.dat"):
        touch(tmp_path / name)
    assert ids(tmp_path, video_id="path", **options) == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[!].mp4", ["[!]"]),
        ("[].mp4", ["[]"]),
        ("[]]*.mp4", ["]"]),
        ("[!]]*.mp4", ["-", "[!]", "[]", "a&&b", "b", "y"]),
        ("[-z].mp4", ["-"]),
        ("[a&&b]*.mp4", ["a&&b", "b"]),
        ("[a-b]*", ["a&&b", "b"]),
        ("**/x[.-0]y.mp4", []),
        ("**/x[!a]y.mp4", []),
    ],
)
def test_the_brackets_of_a_pattern_are_those_of_a_shell(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    for name in ("-", "[!]", "[]", "]", "a&&b", "b", "x/y"):
        touch(tmp_path / f"{name}.mp4")
    touch(tmp_path / "other.mkv")
    taken = {Path(each.path).stem for each in found(tmp_path, include=(pattern, "other.mkv")).videos}
    assert sorted(taken - {"other"}) == expected


@pytest.mark.parametrize("option", ["include", "exclude", "source"])
@pytest.mark.parametrize("pattern", ["[z-a]*", "a[!9-0]?"])
def test_a_range_that_ends_before_it_starts_is_an_error_that_names_the_pattern(
    tmp_path: Path, option: str, pattern: str
) -> None:
    touch(tmp_path / "a.mp4")
    with pytest.raises(UsageError, match=re.escape(repr(pattern))):
        found(f"{tmp_path}/{pattern}") if option == "source" else found(tmp_path, **{option: (pattern,)})


def test_patterns_that_leave_nothing_are_an_error_that_says_so(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    with pytest.raises(UsageError, match=r"1 file or folder excluded by a pattern \(a\.mp4\)"):
        found(tmp_path, include=("*.mkv",))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*/a.mp4", ["x/a.mp4"]),
        ("**/*.mp4", ["b.mp4", "x/a.mp4", "x/y/c.mp4"]),
        ("**/?.mp[45]", ["b.mp4", "x/a.mp4", "x/y/c.mp4"]),
        ("x/*", ["x/a.mp4", "x/y/c.mp4"]),
        ("x/**", ["x/a.mp4", "x/y/c.mp4"]),
        ("*/*.odd", ["x/e.odd"]),
        ("*.csv", ["x/a.mp4"]),
    ],
)
def test_a_quoted_pattern_stands_for_what_it_matches(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    for name in ("b.mp4", "x/a.mp4", "x/y/c.mp4", "x/e.odd", "x/notes.md"):
        touch(tmp_path / name)
    (tmp_path / "x" / "loop").symlink_to(tmp_path)
    (tmp_path / "list.csv").write_text("path\nx/a.mp4\n", encoding="utf-8")
    paths = [Path(entry.path).relative_to(tmp_path).as_posix() for entry in found(f"{tmp_path}/{pattern}").videos]
    assert sorted(set(paths)) == expected


def test_what_a_pattern_matches_and_is_not_searched_is_noted(tmp_path: Path) -> None:
    for name in ("x/a.mp4", "x/notes.txt", "x/sub/b.mp4"):
        touch(tmp_path / name)
    (tmp_path / "x" / "up").symlink_to(tmp_path)
    assert kinds(f"{tmp_path}/x/*") == {"other_ending": 1, "repeated_link": 1}


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    touch(tmp_path / "a[1].mp4")
    touch(tmp_path / "a1.mp4")
    assert ids(tmp_path / "a[1].mp4") == ["a[1]"]
    with pytest.raises(UsageError, match="as a pattern it matches no folder and no video"):
        found(tmp_path / "b*.mp4")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file:///a.mp4", r"file:///a\.mp4 is a file of this machine"),
        ("rtsp://camera/1", "rtsp"),
        ("https://", "names no bucket or host"),
        ("https://host:99999/a.mp4", "'host:99999' is not a host"),
        ("https://me:pa55@host/a.mp4", r"carries credentials.*netrc"),
        ("https://host/a.mp4?X-Amz-Signature=pa55&x=1", "carries credentials"),
        ("s3://pa55:pa55@bucket/a.mp4", "carries credentials.*AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(tmp_path: Path, url: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as raised:
        found(url)
    (tmp_path / "list.txt").write_text(f"a.mp4\n{url}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=rf"list\.txt, line 2: .*{why}") as listed:
        found(tmp_path / "list.txt")
    assert "pa55" not in f"{raised.value} {listed.value}"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://127.0.0.1:9/", "https://host/videos/"])
def test_a_folder_of_the_web_is_no_source(url: str) -> None:
    with pytest.raises(UsageError, match="is a folder of the web, which cannot be listed"):
        find_videos(url, ExtractConfig())


def test_several_sources_are_one_search(tmp_path: Path) -> None:
    one, two = touch(tmp_path / "one" / "a.mp4").parent, touch(tmp_path / "two" / "b.mp4").parent
    touch(two / "a.mp4")
    assert ids(one, two) == ["one/a.mp4", "two/a.mp4", "b"]
    assert ids(one, one / "a.mp4") == ["a"], "one file twice is one video"


def test_equal_names_get_their_paths_and_are_reported(tmp_path: Path) -> None:
    for name in ("p1/cut.mp4", "p2/cut.mp4", "p2/cut.mkv", "p3/other.mp4"):
        touch(tmp_path / name)
    assert ids(tmp_path) == ["p1/cut.mp4", "p2/cut.mkv", "p2/cut.mp4", "other"]
    assert kinds(tmp_path) == {"equal_name": 3}
    assert kinds(tmp_path, video_id="stem") == {"equal_id": 2}
    (tmp_path / "list.csv").write_text("file,video_id\np1/cut.mp4,\np2/cut.mp4,cut\n", encoding="utf-8")
    assert ids(tmp_path / "list.csv") == ["p1/cut.mp4", "cut"], "an id of a list stays"


def test_a_store_keeps_its_ids_and_older_ones_their_rule(tmp_path: Path) -> None:
    first, second = touch(tmp_path / "p1" / "cut.mp4"), touch(tmp_path / "p2" / "cut.mp4")
    place, other = (str(first), None), (str(second), None)

    def with_store(known: KnownIds) -> list[str]:
        return [each.video_id for each in find_videos(str(tmp_path), ExtractConfig(), lambda _: known).videos]

    assert with_store(KnownIds({place: "cut"}, {"cut": place})) == ["cut", "p2/cut.mp4"]
    assert with_store(KnownIds({other: "cut"}, {"cut": other})) == ["p1/cut.mp4", "cut"]
    assert with_store(KnownIds({place: "cut"}, {"cut": place}, equal_names_get_paths=False)) == ["cut", "cut"]
    second.unlink()
    moved = KnownIds({other: "cut"}, {"cut": other})
    assert with_store(moved) == ["cut"], "its file is gone: this is the same video, moved or replaced"


def test_names_with_accents_in_either_form_are_one_id_and_found_from_lists(tmp_path: Path) -> None:
    decomposed, composed = unicodedata.normalize("NFD", "é.mp4"), unicodedata.normalize("NFC", "é.mp4")
    touch(tmp_path / decomposed)
    assert ids(tmp_path) == [composed.removesuffix(".mp4")]
    (tmp_path / "list.txt").write_text(f"{composed}\n", encoding="utf-8")
    assert found(tmp_path / "list.txt").videos[0].size_bytes == 5
    touch(tmp_path / composed)
    assert kinds(tmp_path)["equal_id"] == 1 or len(set(ids(tmp_path))) == 2
