"""The lock of a folder that belongs to one machine, such as that of a training or an index."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reeldex.storage.errors import StoreBusyError
from reeldex.storage.lock import HOLDER, hold_lock


def test_the_lock_of_a_folder_names_its_holder(tmp_path: Path) -> None:
    said = rf"The index .* is in use by process {os.getpid()} on .* since 20.*\(a build\)"
    with hold_lock(tmp_path, 0, "index", "a build"), pytest.raises(StoreBusyError, match=said):
        hold_lock(tmp_path, 0, "index").__enter__()
    with hold_lock(tmp_path, 0, "index"):
        pass
    assert not (tmp_path / HOLDER).exists()


def test_an_unreadable_holder_file_does_not_hide_that_a_folder_is_busy(tmp_path: Path) -> None:
    with hold_lock(tmp_path, 0, "index"):
        (tmp_path / HOLDER).write_text("{", encoding="utf-8")
        with pytest.raises(StoreBusyError, match="not recorded its name yet"):
            hold_lock(tmp_path, 0, "index").__enter__()
