"""A verification needs no lock: what a run writes meanwhile, and what a killed one has left, is no damage."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from reeldex.storage import publishing, removal, verify_features
from reeldex.storage.hashing import file_sha256
from reeldex.storage.outcomes import ShardOutcomes
from reeldex.storage.removal import remove_videos
from reeldex.storage.schema import FeatureSpace
from reeldex.storage.shard import ShardReader
from reeldex.storage.store import FeatureStore
from reeldex.storage.verify_report import VerifyReport

Act = Callable[..., None]

SHARD = "features/net2d.v1/shard-00000.h5"


class KilledError(Exception):
    """Stands for the end of the process between two steps of publishing."""


@pytest.fixture
def filled(store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace) -> FeatureStore:
    grow("a", "b", "c", videos_per_shard=3, spaces=(two_d, three_d))
    fill(0, (two_d, three_d), failing={"c": "timeout"})
    return store


def before_outcomes(module: object, act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this module act between a shard's feature files and its outcomes."""
    write = module.write_outcomes  # type: ignore[attr-defined]

    def acting(root: Path, outcomes: ShardOutcomes) -> None:
        act()
        write(root, outcomes)

    monkeypatch.setattr(module, "write_outcomes", acting)


def killed(*_: object) -> None:
    raise KilledError


@pytest.mark.parametrize("claimed", [True, False])
def test_a_file_whose_outcomes_are_not_yet_published(
    *, filled: FeatureStore, fill: Act, two_d: FeatureSpace, monkeypatch: pytest.MonkeyPatch, claimed: bool
) -> None:
    found: list[VerifyReport] = []
    before_outcomes(publishing, lambda: found.append(filled.verify()), monkeypatch)
    if claimed:
        with filled.claim(0):
            fill(0, (two_d,), retry=["timeout"])
    else:
        fill(0, (two_d,), retry=["timeout"])
    (report,) = found
    assert (report.damages, report.unfinished) == ((), (SHARD,))
    # Nor is it known to be what the outcomes say.
    assert (0, two_d.name) not in report.intact_files
    assert (0, two_d.name) in filled.verify().intact_files


def test_a_kill_before_the_outcomes_costs_no_extraction(
    filled: FeatureStore, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        before_outcomes(publishing, killed, patch)
        with pytest.raises(KilledError):
            fill(0, (two_d, three_d), retry=["timeout"])
    report = filled.verify()
    assert report.damages == ()
    filled.record_damage(report)
    assert filled.pending_positions(0, (two_d, three_d), retry=["timeout"]) == ()
    fill(0, (two_d, three_d), retry=["timeout"])
    assert filled.verify().sound
    assert filled.ids() == ["a", "b", "c"]


def test_a_file_without_its_outcomes_is_not_opened_and_named(
    filled: FeatureStore, fill: Act, two_d: FeatureSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        before_outcomes(publishing, killed, patch)
        with pytest.raises(KilledError):
            fill(0, (two_d,), retry=["timeout"])
    # HDF5 may hang or crash on a damaged file, and no hash says whether this one is.
    monkeypatch.setattr(verify_features, "ShardReader", none_but(filled.path / SHARD))
    report = filled.verify()
    assert (report.damages, report.unfinished) == ((), (SHARD,))
    assert report.unchecked == (
        f"1 feature file, such as {SHARD}, was NOT checked: a run has still to publish the outcomes. "
        "Verify again after the run, or after `reeldex rerun`."
    )
    monkeypatch.undo()
    fill(0, (two_d,), retry=["timeout"])
    assert filled.verify().unchecked == ""


def none_but(refused: Path) -> Callable[[Path], ShardReader]:
    def opened(path: Path) -> ShardReader:
        assert path != refused
        return ShardReader(path)

    return opened


def test_a_file_that_is_older_than_the_outcomes_is_judged_while_its_shard_is_in_work(
    filled: FeatureStore, fill: Act, two_d: FeatureSpace
) -> None:
    fill(0, (two_d,), retry=["timeout"], publish=False)
    path = filled.path / SHARD
    times = path.stat()
    content = bytearray(path.read_bytes())
    # In the structure of the file, which only its hash tells.
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns - 1_000_000_000))
    assert [each.file for each in filled.verify().damages] == [SHARD]


def test_a_file_that_is_replaced_after_it_was_hashed(
    filled: FeatureStore, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = file_sha256
    hashed: list[Path] = []

    def then_replaced(path: Path) -> str:
        found = digest(path)
        hashed.append(path)
        if len(hashed) == 1:
            fill(0, (two_d, three_d), retry=["timeout"])
        return found

    monkeypatch.setattr(verify_features, "file_sha256", then_replaced)
    report = filled.verify()
    assert report.damages == ()
    assert report.checked_videos == 6
    assert hashed[:2] == [filled.path / SHARD] * 2


def test_files_that_are_written_without_some_videos(filled: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[VerifyReport] = []
    before_outcomes(removal, lambda: found.append(filled.verify()), monkeypatch)
    with filled.lock():
        remove_videos(filled, ["a"])
    assert [report.damages for report in found] == [()]
    assert filled.verify().sound


def test_a_new_file_of_another_machine_is_no_damage_while_its_shard_is_claimed(
    store: FeatureStore, grow: Act, fill: Act, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow("a", "b")
    fill(0, publish=False)
    found: list[VerifyReport] = []

    def verified_elsewhere() -> None:
        # Of a store at a URL, the videos are staged on the machine that extracts them.
        staged = store.path / "staging/shard-00000"
        staged.rename(tmp_path / "elsewhere")
        found.append(store.verify())
        (tmp_path / "elsewhere").rename(staged)

    before_outcomes(publishing, verified_elsewhere, monkeypatch)
    with store.claim(0):
        fill(0)
    assert [(report.damages, report.unfinished) for report in found] == [((), (SHARD,))]
    (store.path / "outcomes/shard-00000.json").unlink()
    assert [each.file for each in store.verify().damages] == [SHARD]
