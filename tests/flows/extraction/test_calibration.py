"""What estimates learn: rates of networks are kept, and runs correct what was estimated for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reeldex.flows.extraction.calibration import (
    Calibration,
    Estimated,
    change_calibration,
    compare_with_estimate,
    load_calibration,
)
from reeldex.storage.lock import hold_lock

STORE = Path("/features")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "reeldex" / "calibration"


def _estimated(total: float, uncorrected: float) -> None:
    change_calibration(lambda known: known.with_estimate(str(STORE), Estimated(100.0, total, uncorrected)))


def _save(known: Calibration) -> None:
    change_calibration(lambda _: known)


def test_what_is_saved_is_loaded() -> None:
    assert load_calibration() == Calibration()
    saved = Calibration({"a 1": 0.5}, 2.0, 1.5, {"/s": Estimated(1.0, 2.0, 3.0)})
    _save(saved)
    assert load_calibration() == saved


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"seconds_per_row": {"a": -1}, "start_seconds": 1, "correction": 1}',
        "null",
        "\x00",
        '{"seconds_per_row": {"a": 1}, "startup_seconds": 1, "correction": 1, "estimates": {}}',
    ],
)
def test_a_damaged_file_is_measured_again(cache: Path, content: str) -> None:
    _save(Calibration({"a": 1.0}))
    [path] = cache.glob("*.json")
    path.write_text(content)
    assert load_calibration() == Calibration()


def test_nan_is_no_rate(cache: Path) -> None:
    _save(Calibration(correction=2.0))
    [path] = cache.glob("*.json")
    path.write_text(path.read_text().replace("2.0", "NaN"))
    assert load_calibration() == Calibration()


def test_runs_that_take_longer_make_estimates_longer() -> None:
    _estimated(10.0, 10.0)
    assert compare_with_estimate(STORE, 100.0, 22.0, 20.0) == 10.0
    assert load_calibration().correction == pytest.approx(2**0.5)
    assert compare_with_estimate(STORE, 100.0, 22.0, 20.0) is None, "an estimate is compared once"
    for _ in range(10):
        uncorrected = 10.0
        _estimated(uncorrected * load_calibration().correction, uncorrected)
        compare_with_estimate(STORE, 100.0, 22.0, 20.0)
    assert load_calibration().correction == pytest.approx(2, rel=0.01)


def test_one_run_that_was_disturbed_changes_little() -> None:
    _estimated(10.0, 10.0)
    compare_with_estimate(STORE, 100.0, 2e6, 1e6)
    assert load_calibration().correction == pytest.approx(2)


@pytest.mark.parametrize(
    ("start", "learnt"),
    [(4.0, 4.0), (8.0, 32**0.5), (3.0, 12**0.5), (1.0, 4.0), (0.0, 4.0), (1e6, 8.0)],
    ids=["as known", "longer", "shorter", "worker was running", "at once", "disturbed"],
)
def test_the_start_of_a_run_is_learnt_apart_from_its_work(start: float, learnt: float) -> None:
    _save(Calibration(start_seconds=4.0))
    _estimated(14.0, 10.0)
    assert compare_with_estimate(STORE, 100.0, start + 10.0, 10.0) == 14.0
    found = load_calibration()
    assert found.start_seconds == pytest.approx(learnt)
    assert found.correction == pytest.approx(1)


def test_an_estimate_for_the_next_run_that_ends_just_then_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    _estimated(10.0, 10.0)

    @contextmanager
    def after_another_command(*arguments: Any) -> Iterator[None]:  # noqa: ANN401 - of `hold_lock`
        monkeypatch.setattr("reeldex.flows.extraction.calibration.hold_lock", hold_lock)
        _estimated(30.0, 20.0)
        with hold_lock(*arguments):
            yield

    monkeypatch.setattr("reeldex.flows.extraction.calibration.hold_lock", after_another_command)
    assert compare_with_estimate(STORE, 100.0, 22.0, 20.0) == 10.0
    assert load_calibration().estimates[str(STORE)].total_seconds == 30.0


def test_a_run_without_work_is_not_compared() -> None:
    _estimated(10.0, 10.0)
    assert compare_with_estimate(STORE, 100.0, 5.0, 0.0) is None


@pytest.mark.parametrize(("store", "seconds"), [(STORE, 50.0), (STORE, 150.0), (Path("/other"), 100.0), (STORE, 0.0)])
def test_a_run_of_other_videos_is_not_compared(store: Path, seconds: float) -> None:
    _estimated(10.0, 10.0)
    assert compare_with_estimate(store, seconds, 22.0, 20.0) is None
    assert load_calibration().correction == 1


def test_estimates_that_end_at_the_same_time_are_all_kept() -> None:
    def end(number: int) -> None:
        change_calibration(lambda known: known.with_estimate(f"/{number}", Estimated(1.0, 1.0, 1.0)))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(end, range(40)))
    assert set(load_calibration().estimates) == {f"/{number}" for number in range(40)}


def test_what_was_measured_meanwhile_is_kept_beside_what_others_measured() -> None:
    by_now = Calibration({"a": 1.0, "b": 2.0}, 3.0, 1.5, {"/s": Estimated(1.0, 2.0, 3.0)})
    measured = Calibration({"b": 4.0, "c": 5.0}, 6.0)
    assert by_now.with_measured(measured) == Calibration(
        {"a": 1.0, "b": 4.0, "c": 5.0}, 3.0, 1.5, {"/s": Estimated(1.0, 2.0, 3.0)}
    )
    assert Calibration().with_measured(measured) == measured


def test_only_the_last_estimates_are_kept(cache: Path) -> None:
    known = Calibration()
    for number in range(80):
        known = known.with_estimate(f"/{number}", Estimated(1.0, 1.0, 1.0))
    _save(known)
    [path] = cache.glob("*.json")
    assert list(json.loads(path.read_text())["estimates"]) == [f"/{number}" for number in range(30, 80)]


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    _save(Calibration())
    assert load_calibration() == Calibration()
