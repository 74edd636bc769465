from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from reeldex.errors import UsageError
from reeldex.flows.config.pipeline import ExtractConfig
from reeldex.flows.extraction.sources import FoundVideos, find_settled_videos, find_videos


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
        ("name,id\na.mp4,1\n", "no column video_path, path or file; its first line has: name, id"),
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
    found = find_settled_videos(str(folder), ExtractConfig(settle_seconds=0.5))
    assert [[entry.video_id for entry in part] for part in (found.videos, found.unsettled)] == [["old"], ["copied"]]
    everything = find_settled_videos(str(folder), ExtractConfig())
    assert (len(everything.videos), everything.unsettled) == (2, [])
    (folder / "missing.txt").write_text("nowhere.mp4\n", encoding="utf-8")
    listed = find_settled_videos(str(folder / "missing.txt"), ExtractConfig(settle_seconds=60))
    assert len(listed.videos) == 1, "an absent file has an outcome of its own"
