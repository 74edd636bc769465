"""The cache of text towers: a query of a warm index imports no PyTorch, and a cache that fails is no failure."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from reeldex.cached_files import UNUSED_SECONDS
from reeldex.embedding.training.checkpoint import Checkpoint, load_checkpoint
from reeldex.search.index import SearchIndex
from reeldex.search.sentences import cached_text_tower
from tests.search.library import Library, write_checkpoint

_SEARCH = """
import sys
from reeldex.search.index import SearchIndex
with SearchIndex.open(sys.argv[1]) as index:
    assert len(index.search("chop the onion"))
print(*(name for name in ("torch", "gensim", "h5py", "prefect") if name in sys.modules))
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "reeldex" / "text-towers"


def _never() -> Checkpoint:
    raise AssertionError("the checkpoint was read again")


@pytest.mark.slow
def test_the_second_search_imports_neither_pytorch_nor_hdf5(library: Library) -> None:
    library.build()
    loaded = [
        subprocess.run(
            [sys.executable, "-c", _SEARCH, str(library.folder / "index")], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert "torch" in loaded[0]
    assert loaded[1] == []


def test_a_replaced_checkpoint_does_not_change_the_answers_of_an_open_index(library: Library) -> None:
    library.build()
    with SearchIndex.open(library.folder / "index") as index:
        before = index.search("soup")
    with SearchIndex.open(library.folder / "index") as index:
        write_checkpoint(library.checkpoint, seed=5)
        assert index.search("soup").to_json() == before.to_json()


@pytest.mark.parametrize("damage", ["cut short", "another file", "a folder"])
def test_a_damaged_tower_is_made_again(library: Library, cache: Path, damage: str) -> None:
    load = lambda: load_checkpoint(library.checkpoint)  # noqa: E731
    first = cached_text_tower("aa", load)
    [path] = cache.iterdir()
    content = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        (path / "something").mkdir(parents=True)
    else:
        path.write_bytes(content[:-1] if damage == "cut short" else b"x" * len(content))
    again = cached_text_tower("aa", load)
    assert np.array_equal(again.joint[0], first.joint[0])
    if damage != "a folder":
        cached_text_tower("aa", _never)


def test_a_cache_that_cannot_be_written_costs_only_time(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a file"))
    tower = cached_text_tower("aa", lambda: load_checkpoint(library.checkpoint))
    assert tower.max_words == load_checkpoint(library.checkpoint).spec.max_words
    assert "Each search reads the checkpoint again" in caplog.text
    assert "XDG_CACHE_HOME" in caplog.text


def test_towers_that_nobody_uses_are_removed_when_another_is_written(library: Library, cache: Path) -> None:
    load = lambda: load_checkpoint(library.checkpoint)  # noqa: E731
    cached_text_tower("old", load)
    cached_text_tower("used", load)
    past = time.time() - UNUSED_SECONDS - 60
    for path in cache.iterdir():
        os.utime(path, (past, past))
    cached_text_tower("used", _never)
    cached_text_tower("new", load)
    assert sorted(path.name.partition("-")[0] for path in cache.iterdir()) == ["new", "used"]
