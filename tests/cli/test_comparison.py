"""`reeldex compare`: what it prints and returns."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Reeldex
from tests.embedding.feature_files import SPACES, make_store, rows_of


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """A store, and the .npy files of its features in two folders."""
    store = make_store(tmp_path, {name: rows_of(name) for name in ("red", "green", "blue")})
    return store.path, tmp_path / "imported"


def test_a_store_and_its_files_are_the_same(reeldex: Reeldex, two: tuple[Path, Path]) -> None:
    answer = reeldex("compare", *two)
    assert (answer.status, answer.err) == (0, "")
    assert f"{SPACES[0]}: 3 videos in both, 0 only in A, 0 only in B" in answer.out
    assert "3 identical, 0 equal up to rounding (cosine 0.9999), 0 differ" in answer.out
    assert answer.out.endswith("A and B are the same.\n")


def test_differences_are_named_with_video_row_and_second(reeldex: Reeldex, two: tuple[Path, Path]) -> None:
    store, folder = two
    path = folder / SPACES[1] / "red.npy"
    rows = np.load(path)
    assert rows[9].any()
    rows[9] = -rows[9]
    np.save(path, rows)
    (folder / SPACES[1] / "blue.npy").unlink()
    later = folder / SPACES[1] / "green.npy"
    np.save(later, np.load(later)[2:])
    answer = reeldex("compare", store, folder)
    assert answer.status == 1
    assert "only in A: 'blue'" in answer.out
    assert "'red': 30 rows, cosine median 1.00000, least" in answer.out
    assert "at row 9 (6 s)" in answer.out
    assert "'green': 30 rows in A, 28 in B, shifted by -2 rows (-1.33333 s), cosine median 1.00000" in answer.out
    assert "likely cause: row shift (1 video). Rows of B are earlier than those of A by whole rows (-2)" in answer.out
    assert answer.out.endswith("A and B differ.\n")
    found = reeldex("compare", store, folder, "--json")
    assert (found.status, found.json["same"]) == (1, False)
    first, second = found.json["spaces"]
    assert (first["same"], second["same"], second["only_in_a"]) == (True, False, ["blue"])
    videos = {each["video_id"]: each for each in second["videos"]}
    assert len(videos["red"]["cosines"]) == 30
    assert (videos["red"]["least_row"], videos["green"]["shift_rows"]) == (9, -2)
    assert videos["green"]["shift_seconds"] == pytest.approx(-4 / 3)
    assert reeldex("compare", store, folder, "--space", SPACES[0]).status == 0
    assert reeldex("compare", store, folder / SPACES[0], "--space", SPACES[0]).status == 0
    assert reeldex("compare", store, folder / SPACES[0]).status == 0, "no other space is meant"


def test_rows_that_are_no_numbers_are_null_in_json(reeldex: Reeldex, two: tuple[Path, Path]) -> None:
    store, folder = two
    path = folder / SPACES[0] / "red.npy"
    rows = np.load(path)
    rows[3] = np.inf
    np.save(path, rows)
    found = reeldex("compare", store, folder, "--space", SPACES[0], "--json").json["spaces"][0]
    cosines = next(each["cosines"] for each in found["videos"] if each["video_id"] == "red")
    assert (cosines[3], cosines[2]) == (None, pytest.approx(1))
    assert [each["kind"] for each in found["causes"]] == ["float16 overflow"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere", "{folder}"), "neither a feature store nor a folder of .npy files: no such directory"),
        (("{store}", "{folder}", "--space", "net9.v1"), "has no feature space 'net9.v1'. It has: resnet152.test"),
        (("{store}", "{folder}", "--least-cosine", "1.5"), "a cosine is between -1 and 1"),
        (("{store}", "{folder}", "--least-cosine", "nan"), "a cosine is between -1 and 1"),
        (("{store}", ""), "the path is empty"),
    ],
)
def test_wrong_use(reeldex: Reeldex, two: tuple[Path, Path], arguments: tuple[str, ...], said: str) -> None:
    answer = reeldex("compare", *(each.format(store=two[0], folder=two[1]) for each in arguments))
    assert answer.status == 2
    assert said in answer.err


def test_a_folder_whose_space_only_the_user_knows(reeldex: Reeldex, two: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.move(two[1] / SPACES[0], tmp_path / "2d")
    answer = reeldex("compare", two[0], tmp_path / "2d")
    assert answer.status == 2
    assert "no feature space in common. Name the one that is meant with --space." in answer.err
    assert reeldex("compare", two[0], tmp_path / "2d", "--space", SPACES[0]).status == 0
