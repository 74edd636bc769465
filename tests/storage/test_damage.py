"""What a verification finds is recorded in the store, until the files are written again or restored."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reeldex.storage import layout
from reeldex.storage.damage import forget_damage, read_damage
from reeldex.storage.errors import FingerprintError, StoreDamagedError
from reeldex.storage.schema import FeatureRows, FeatureSpace
from reeldex.storage.store import FeatureStore

MakeRows = Callable[..., FeatureRows]
Act = Callable[..., None]

SHARD = "features/net2d.v1/shard-00000.h5"


@pytest.fixture
def filled(store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace) -> FeatureStore:
    grow("a", "b", "c", "d", videos_per_shard=3, spaces=(two_d, three_d))
    fill(0, (two_d, three_d), failing={"c": "timeout"})
    fill(1, (two_d, three_d))
    return store


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


def damage_rows(store: FeatureStore, rows: FeatureRows) -> None:
    path = store.path / SHARD
    flip(path, path.read_bytes().index(rows.rows.tobytes()) + 17)


def verify(store: FeatureStore) -> None:
    store.record_damage(store.verify())


def is_done(store: FeatureStore, *spaces: FeatureSpace) -> bool:
    return store.shard_state(0, spaces).done


def test_recorded_damage_is_extracted_again_and_then_forgotten(
    filled: FeatureStore, fill: Act, make_rows: MakeRows, two_d: FeatureSpace, three_d: FeatureSpace
) -> None:
    good = {video_id: filled.read(two_d.name, video_id).tobytes() for video_id in ("a", "b")}
    untouched = (filled.path / "features/net3d.v1/shard-00000.h5").read_bytes()
    damage_rows(filled, make_rows("b net2d.v1"))
    assert is_done(filled, two_d, three_d), "its size is right"
    verify(filled)
    assert filled.status().damaged == (SHARD,)
    assert (filled.status().shards_done, filled.status().shards_unfinished) == (1, 1)
    state = filled.shard_state(0, (two_d, three_d))
    assert (state.done, state.missing_spaces) == (False, ("net2d.v1",))
    assert "was found damaged by a verification" in state.problems[0]
    assert filled.pending_positions(0, (two_d, three_d)) == (0, 1), "the failed video stays as it is"
    fill(0, (two_d,))
    assert read_damage(filled.path, 0) is None
    assert filled.verify().sound
    assert filled.status().damaged == ()
    assert {video_id: filled.read(two_d.name, video_id).tobytes() for video_id in good} == good
    assert (filled.path / "features/net3d.v1/shard-00000.h5").read_bytes() == untouched


def test_a_restored_file_is_forgotten_by_the_next_verification(
    filled: FeatureStore, tmp_path: Path, two_d: FeatureSpace
) -> None:
    shutil.copyfile(filled.path / SHARD, tmp_path / "backup")
    flip(filled.path / SHARD, 100)
    verify(filled)
    assert not is_done(filled, two_d)
    verify(filled)
    assert not is_done(filled, two_d), "recorded once"
    shutil.copyfile(tmp_path / "backup", filled.path / SHARD)
    verify(filled)
    assert is_done(filled, two_d)
    assert list((filled.path / "damage").iterdir()) == []


@pytest.mark.slow
def test_a_record_of_a_file_that_was_written_again_does_not_count(
    filled: FeatureStore, fill: Act, tmp_path: Path, two_d: FeatureSpace, three_d: FeatureSpace
) -> None:
    flip(filled.path / SHARD, 100)
    verify(filled)
    shutil.copytree(filled.path / "damage", tmp_path / "damage")
    time.sleep(1.1)  # time is tested: a file that is written again differs by the second of its creation
    fill(0, (two_d,))
    # As if the run had been killed before it removed the record.
    shutil.copytree(tmp_path / "damage", filled.path / "damage", dirs_exist_ok=True)
    assert is_done(filled, two_d, three_d)
    assert filled.status().damaged == ()


def test_intact_rows_survive_when_their_video_is_gone(
    filled: FeatureStore, fill: Act, make_rows: MakeRows, two_d: FeatureSpace, three_d: FeatureSpace
) -> None:
    good = filled.read(two_d.name, "a").tobytes()
    damage_rows(filled, make_rows("b net2d.v1"))
    verify(filled)
    fill(0, (two_d, three_d), failing={"a": "missing", "b": "missing"})
    assert filled.read(two_d.name, "a").tobytes() == good
    kept, lost = filled.outcome("a"), filled.outcome("b")
    assert kept is not None
    assert kept.status == "ok"
    assert lost is not None
    assert (lost.status, lost.reason, sorted(lost.rows)) == ("failed", "missing", ["net3d.v1"])
    assert filled.verify().sound
    assert read_damage(filled.path, 0) is None


def test_damage_of_a_space_that_is_not_repaired_stays_recorded(
    filled: FeatureStore, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace
) -> None:
    flip(filled.path / SHARD, 100)
    flip(filled.path / "features/net3d.v1/shard-00000.h5", 100)
    verify(filled)
    fill(0, (two_d,))
    assert filled.status().damaged == ("features/net3d.v1/shard-00000.h5",)
    fill(0, (three_d,))
    assert filled.status().damaged == ()
    assert filled.verify().sound


def test_settings_are_not_read_from_a_file_whose_structure_is_damaged(
    filled: FeatureStore, two_d: FeatureSpace
) -> None:
    path = filled.path / SHARD
    at = path.read_bytes().index(two_d.fingerprint_json().encode())
    flip(path, at + len('{"fps":1,"weights":"a'))  # still JSON, another weight
    verify(filled)
    filled.require_fingerprint(two_d)
    assert filled.fingerprint(two_d.name) == two_d.fingerprint


def test_a_damaged_record_is_written_again_by_verify(filled: FeatureStore, two_d: FeatureSpace) -> None:
    flip(filled.path / SHARD, 100)
    verify(filled)
    record = filled.path / "damage/shard-00000.json"
    record.write_text("{}")
    with pytest.raises(StoreDamagedError, match="Run `reeldex verify`, which writes this file again"):
        filled.shard_state(0, (two_d,))
    verify(filled)
    assert filled.shard_state(0, (two_d,)).missing_spaces == ("net2d.v1",)


def test_a_damaged_record_hides_no_settings_and_goes_when_the_files_are_written_again(
    store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace
) -> None:
    grow("a", "b", videos_per_shard=2)
    fill(0, (two_d,))
    record = layout.damage_file(store.path, 0)
    record.parent.mkdir(exist_ok=True)
    record.write_text("{", encoding="utf-8")
    with pytest.raises(FingerprintError):
        store.require_fingerprint(FeatureSpace(two_d.name, {**two_d.fingerprint, "precision": "other"}))
    forget_damage(store.path, 0, [two_d.name])
    assert not record.exists()
