"""Random weights on disk: the same as generated ones, and never damaged ones."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest
import torch

from reeldex.cached_files import UNUSED_SECONDS
from reeldex.extractors import random_weights_cache
from reeldex.extractors.random_weights import random_state
from reeldex.extractors.random_weights_cache import cached_random_state
from reeldex.extractors.weights import sha256_of_state

SHAPES = {"conv.weight": (4, 3, 3, 3), "bn.weight": (4,), "bn.running_var": (4,), "bn.num_batches_tracked": ()}


def _cached(folder: Path) -> tuple[dict[str, torch.Tensor], str]:
    return cached_random_state("tiny", SHAPES, (".bn3.weight",), folder)


def _file(folder: Path) -> Path:
    (file,) = folder.glob("random-tiny.*.pth")
    return file


def test_what_is_read_is_what_was_generated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = random_state("tiny", SHAPES, (".bn3.weight",))
    caplog.set_level(logging.WARNING)
    _cached(tmp_path / "weights")
    assert caplog.text == "", "nothing is wrong at the first use"
    monkeypatch.delattr(random_weights_cache, "random_state")
    state, sha256 = _cached(tmp_path / "weights")
    assert sha256 == sha256_of_state(expected)
    assert {name: value.numpy().tobytes() for name, value in state.items()} == {
        name: value.tobytes() for name, value in expected.items()
    }
    assert sorted(path.suffix for path in (tmp_path / "weights").iterdir()) == [".pth", ".sha256"]


@pytest.mark.parametrize("damage", ["changed", "cut off", "no mark"])
def test_damaged_files_are_written_again(tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, sha256 = _cached(tmp_path)
    file = _file(tmp_path)
    content = file.read_bytes()
    if damage == "changed":
        at = content.index(random_state("tiny", SHAPES, ())["conv.weight"].tobytes()[:16])
        file.write_bytes(content[:at] + b"\x01" + content[at + 1 :])
    elif damage == "cut off":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.with_name(f"{file.name}.sha256").unlink()
    state, found = _cached(tmp_path)
    assert found == sha256 == sha256_of_state({name: value.numpy() for name, value in state.items()})
    monkeypatch.delattr(random_weights_cache, "random_state")
    assert _cached(tmp_path)[1] == sha256, "the file is sound again"


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    caplog.set_level(logging.WARNING)
    state, _ = _cached(tmp_path / "file" / "weights")
    assert set(state) == set(SHAPES)
    assert "cannot be written" in caplog.text


def test_random_weights_that_are_no_longer_used_are_removed_when_others_are_written(tmp_path: Path) -> None:
    old, recent = tmp_path / f"random-net.{'0' * 12}.pth", tmp_path / f"random-net.{'1' * 12}.pth"
    foreign = tmp_path / "random-thoughts.pth"
    month_ago = time.time() - UNUSED_SECONDS - 60
    for path in (old, recent, foreign):
        for each in (path, path.with_name(f"{path.name}.sha256")):
            each.write_text("x", encoding="utf-8")
            os.utime(each, (month_ago, month_ago))
    os.utime(recent.with_name(f"{recent.name}.sha256"))
    _cached(tmp_path)
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith("random-tiny")}
    assert left == {f"{path.name}{suffix}" for path in (recent, foreign) for suffix in ("", ".sha256")}


def test_reading_random_weights_marks_them_as_used(tmp_path: Path) -> None:
    _cached(tmp_path)
    mark = next(tmp_path.glob("*.sha256"))
    os.utime(mark, (1, 1))
    _cached(tmp_path)
    assert time.time() - mark.stat().st_mtime < 60
