from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reeldex.user_folders import FolderNotWritableError, cache_folder, make_writable, state_folder


def test_folders_follow_the_xdg_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert cache_folder("page") == tmp_path / ".cache/reeldex/page"
    assert state_folder() == tmp_path / ".local/state/reeldex"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    assert cache_folder("word-vectors") == tmp_path / "c/reeldex/word-vectors"
    assert state_folder() == tmp_path / "s/reeldex"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder("page") == tmp_path / ".cache/reeldex/page"


def test_a_folder_that_cannot_be_written_is_named_with_its_variable(tmp_path: Path) -> None:
    assert make_writable(tmp_path / "a" / "b", "XDG_STATE_HOME").is_dir()
    # A file in its place refuses everybody, root too, to whom no permission is denied.
    (tmp_path / "file").touch()
    with pytest.raises(FolderNotWritableError, match=r"file/below cannot be written: Not a directory.*XDG_STATE_HOME"):
        make_writable(tmp_path / "file" / "below", "XDG_STATE_HOME")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize(
    ("find", "variable"),
    [(lambda: cache_folder("page"), "XDG_CACHE_HOME"), (state_folder, "XDG_STATE_HOME")],
)
def test_a_user_without_a_home_is_told_which_variable_to_set(
    monkeypatch: pytest.MonkeyPatch, find: Callable[[], Path], variable: str
) -> None:
    def homeless(_name: str) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("platformdirs.user_cache_path", homeless)
    monkeypatch.setattr("platformdirs.user_state_path", homeless)
    with pytest.raises(FolderNotWritableError, match=f"no home folder. Set {variable}"):
        find()
