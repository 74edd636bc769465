"""Caches on disk: complete files only, safe beside other processes, and no leftovers of killed ones."""

from __future__ import annotations

import multiprocessing
import os
import time
import uuid
from pathlib import Path

import pytest

from reeldex.cached_files import (
    ABANDONED_SECONDS,
    mark_used,
    publish_text,
    published,
    remove,
    remove_abandoned,
)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _temporary(name: str) -> str:
    return f"{name}.{uuid.uuid4().hex}.partial"


def test_a_file_is_absent_or_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with pytest.raises(ZeroDivisionError), published(path) as temporary:  # noqa: PT012 - what happens meanwhile
        temporary.write_text("half")
        assert not path.exists()
        raise ZeroDivisionError
    assert _names(path.parent) == []
    publish_text(path, "one")
    publish_text(path, "two")
    assert (path.read_text(), _names(path.parent)) == ("two", ["file"])


def test_a_folder_that_another_process_has_published_stays(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with pytest.raises(OSError, match="not empty"), published(path) as temporary:  # noqa: PT012 - what happens meanwhile
        temporary.mkdir()
        path.mkdir()
        (path / "theirs").touch()
    assert (_names(tmp_path), _names(path)) == (["folder"], ["theirs"])


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path: Path) -> None:
    long_ago = time.time() - ABANDONED_SECONDS - 60
    old_file, old_folder, in_use, others = (
        tmp_path / _temporary("a.pth"),
        tmp_path / _temporary("b"),
        tmp_path / _temporary("c"),
        tmp_path / "mine.partial",
    )
    old_file.touch()
    others.touch()
    for folder in (old_folder, in_use):
        folder.mkdir()
        (folder / "model.bin").touch()
    for path in (old_file, old_folder / "model.bin", old_folder, in_use, others):
        os.utime(path, (long_ago, long_ago))
    publish_text(tmp_path / "new", "x")
    assert _names(tmp_path) == sorted([in_use.name, others.name, "new"])


def test_an_absent_folder_has_no_leftovers(tmp_path: Path) -> None:
    remove_abandoned(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_removing_what_is_gone_or_open_does_no_harm(tmp_path: Path) -> None:
    remove(tmp_path / "none")
    mark_used(tmp_path / "none")
    path = tmp_path / "file"
    path.write_text("content")
    with path.open() as file:
        remove(path)
        assert file.read() == "content"
    assert _names(tmp_path) == []


def _publish_and_remove(folder: str) -> None:
    for _ in range(50):
        path = Path(folder) / "shared"
        remove(path)
        try:
            with published(path) as temporary:
                temporary.mkdir()
                (temporary / "part").write_text("whole")
        except OSError:
            continue  # the other process was faster
        finally:
            remove_abandoned(Path(folder))


@pytest.mark.slow
def test_processes_that_remove_and_publish_at_once_leave_a_complete_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_publish_and_remove, args=(str(tmp_path),)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert _names(tmp_path) in (["shared"], [])
    assert all((path / "part").read_text() == "whole" for path in tmp_path.iterdir())
