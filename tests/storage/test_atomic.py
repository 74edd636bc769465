from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from reeldex.storage.atomic import make_folder, publish, publish_text, remove_folder, remove_leftovers


def test_the_name_appears_only_with_the_whole_content(tmp_path: Path) -> None:
    target = tmp_path / "new/folder/file"
    with publish(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.parent == target.parent
        assert temporary.name.startswith(".")
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == ["file"]  # noqa: PTH208


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_content_and_no_temporary(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "file"
    target.write_text("old")

    def write_and_fail() -> None:
        with publish(target) as temporary:
            temporary.write_text("new")
            raise error

    with pytest.raises(error):
        write_and_fail()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_writing_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), publish(tmp_path / "file"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_temporaries_are_unique_and_fit_the_longest_names(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 255)
    with publish(target) as one, publish(target) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert target.read_text() == "one"


def test_leftovers_of_killed_runs_are_recognised(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        with publish(tmp_path / "file") as temporary:
            temporary.write_text("half")
            os._exit(9)
    os.waitpid(pid, 0)
    publish_text(tmp_path / "kept", "x")
    (tmp_path / ".hidden").write_text("x")
    assert remove_leftovers(tmp_path) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "kept"]
    assert remove_leftovers(tmp_path / "absent") == 0


def test_removing_a_folder_is_all_or_a_leftover(tmp_path: Path) -> None:
    make_folder(tmp_path / "a/b")
    (tmp_path / "a/b/file").write_text("x")
    remove_folder(tmp_path / "a")
    remove_folder(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_content_reaches_the_disk_before_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A power cut cannot be made here, so that the order of the system calls stands for it.
    calls: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def watched_fsync(descriptor: int) -> None:
        calls.append("fsync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync file")
        fsync(descriptor)

    def watched_rename(path: Path, target: Path) -> Path:
        calls.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_rename)
    publish_text(tmp_path / "file", "x")
    assert calls == ["fsync file", "rename", "fsync folder"]
