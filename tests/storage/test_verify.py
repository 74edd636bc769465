from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from reeldex.storage.outcomes import FileRecord, read_outcomes, write_outcomes
from reeldex.storage.removed import add_removed
from reeldex.storage.schema import FeatureRows, FeatureSpace
from reeldex.storage.searches import Searches
from reeldex.storage.shard import ShardReader, write_shard
from reeldex.storage.store import FeatureStore
from reeldex.storage.verify_report import Damage

MakeRows = Callable[..., FeatureRows]
Act = Callable[..., None]

SHARD = "features/net2d.v1/shard-00000.h5"


@pytest.fixture
def filled(store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace) -> FeatureStore:
    grow("a", "n/b", "c", "d", "e", videos_per_shard=3, spaces=(two_d, three_d))
    fill(0, (two_d, three_d), failing={"c": "timeout"})
    fill(1, (two_d, three_d), publish=False)
    return store


def damages(store: FeatureStore) -> list[Damage]:
    found = list(store.verify().damages)
    for damage in found:
        assert damage.what
        assert damage.remedy
    return found


def update_record(store: FeatureStore, shard: int) -> None:
    """Let the outcomes vouch for the feature files as they are now."""
    outcomes = read_outcomes(store.path, shard)
    assert outcomes
    files = {}
    for space, record in outcomes.files.items():
        with ShardReader(store.path / record.name) as reader:
            files[space] = FileRecord.of(store.path, reader.path, reader.extents())
    write_outcomes(store.path, replace(outcomes, files=files))


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


def test_an_intact_store(filled: FeatureStore) -> None:
    told: list[tuple[int, int]] = []
    report = filled.verify(lambda done, total: told.append((done, total)))
    assert report.damages == ()
    # Two manifests, one file of outcomes, two of features, two staged videos.
    assert report.checked_files == 7
    assert report.checked_videos == 2 + 2 + 2
    assert report.checked_bytes == sum(
        path.stat().st_size for path in filled.path.rglob("*") if path.is_file() and not path.name.startswith(".")
    )
    assert told == [(done, 7) for done in range(1, 8)]


def test_flipped_data_names_the_video(filled: FeatureStore, make_rows: MakeRows) -> None:
    path = filled.path / SHARD
    flip(path, path.read_bytes().index(make_rows("n/b net2d.v1").rows.tobytes()) + 17)
    (damage,) = damages(filled)
    assert (damage.file, damage.video_id) == (SHARD, "n/b")
    assert "SHA-256" in damage.what
    assert "reeldex rerun" in damage.remedy


def test_a_flipped_attribute_is_noticed(filled: FeatureStore) -> None:
    path = filled.path / SHARD
    # The value of an attribute: the double 6.0, a video's duration.
    flip(path, path.read_bytes().index(np.float64(6.0).tobytes()) + 6)
    found = damages(filled)
    assert [damage.file for damage in found] == [SHARD]


@pytest.mark.parametrize("at", [0, 3, 8, 40, 100, -1])
def test_a_flip_in_the_structure_is_noticed(filled: FeatureStore, at: int) -> None:
    flip(filled.path / SHARD, at)
    assert {damage.file for damage in damages(filled)} == {SHARD}


def test_any_flip_anywhere_is_noticed(filled: FeatureStore) -> None:
    for name in (SHARD, "outcomes/shard-00000.json", "manifest/shard-00001.json", "manifest/shard-00000.json"):
        path = filled.path / name
        intact = path.read_bytes()
        for at in np.random.default_rng(0).choice(len(intact), 25, replace=False):
            flip(path, int(at))
            # White space in JSON carries nothing, and flipping it breaks the syntax.
            assert name in {damage.file for damage in damages(filled)}, (name, at)
            path.write_bytes(intact)
    assert damages(filled) == []


def test_a_truncated_file(filled: FeatureStore) -> None:
    path = filled.path / SHARD
    os.truncate(path, path.stat().st_size - 500)
    found = damages(filled)
    assert {damage.file for damage in found} == {SHARD}
    assert found[-1].what.endswith("expected")
    os.truncate(path, 0)
    assert [damage.video_id for damage in damages(filled)] == ["a", "n/b", None]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        (SHARD, "missing although the shard's outcomes name it"),
        ("outcomes/shard-00000.json", "outcomes do not name this feature file"),
        ("manifest/shard-00000.json", "manifest is missing"),
    ],
)
def test_a_deleted_file(filled: FeatureStore, name: str, complaint: str) -> None:
    (filled.path / name).unlink()
    found = damages(filled)
    assert found
    assert all(complaint in damage.what for damage in found)


def test_edited_outcomes(filled: FeatureStore) -> None:
    path = filled.path / "outcomes/shard-00000.json"
    path.write_text(path.read_text().replace("timeout!", "timeout?"))
    found = damages(filled)
    assert ("outcomes/shard-00000.json", True) in [(damage.file, "checksum" in damage.what) for damage in found]


def test_a_manifest_under_another_number(filled: FeatureStore) -> None:
    folder = filled.path / "manifest"
    shutil.copyfile(folder / "shard-00001.json", folder / "shard-00000.json")
    assert any("belongs to shard 1" in damage.what for damage in damages(filled))


def test_outcomes_of_other_videos(filled: FeatureStore) -> None:
    outcomes = read_outcomes(filled.path, 0)
    assert outcomes
    write_outcomes(filled.path, replace(outcomes, videos=outcomes.videos[::-1]))
    assert "not those of the 3 videos in its manifest" in damages(filled)[0].what


def test_rows_that_do_not_fit_the_outcomes(filled: FeatureStore, two_d: FeatureSpace, make_rows: MakeRows) -> None:
    items = [("a", make_rows("x", row_count=2)), ("unknown", make_rows("y"))]
    write_shard(filled.path / SHARD, two_d, 0, items, {})
    assert damages(filled)[0].file == SHARD
    update_record(filled, 0)
    whats = {(damage.video_id, damage.what) for damage in damages(filled) if damage.video_id}
    assert whats == {
        ("a", "2 rows instead of 6"),
        ("n/b", "its 6 rows are missing"),
        ("unknown", "the shard's outcomes do not include this video's rows"),
    }


def test_fingerprints_must_agree_across_shards(filled: FeatureStore, fill: Act, two_d: FeatureSpace) -> None:
    fill(1, (two_d, FeatureSpace("net3d.v1", {"weights": "bb", "fps": 24})))
    assert damages(filled) == []
    with h5py.File(filled.path / "features/net2d.v1/shard-00001.h5", "r+") as file:
        file.attrs["fingerprint"] = "{}"
    update_record(filled, 1)
    assert "its fingerprint differs from that of shard-00000.h5" in {damage.what for damage in damages(filled)}


@pytest.mark.parametrize(
    "name",
    [
        "manifest/notes.txt",
        "outcomes/shard-0.json",
        "outcomes/shard-00009.json",
        "features/net2d.v1/a.npy",
        "features/shard-00000.h5",
        "staging/shard-00001/x",
        "staging/00000.h5",
    ],
)
def test_an_unexpected_file(filled: FeatureStore, name: str) -> None:
    (filled.path / name).write_text("x")
    assert name in {damage.file for damage in damages(filled)}


def test_a_damaged_and_a_misplaced_staged_video(filled: FeatureStore) -> None:
    folder = filled.path / "staging/shard-00001"
    shutil.copyfile(folder / "00000.h5", folder / "00007.h5")
    (folder / "00000.h5").write_text("x")
    assert {(damage.file, damage.video_id) for damage in damages(filled)} == {
        ("staging/shard-00001/00000.h5", None),
        ("staging/shard-00001/00007.h5", "d"),
    }


def test_what_a_kill_leaves_is_no_damage(filled: FeatureStore) -> None:
    for folder in ("manifest", "outcomes", "staging", "features/net2d.v1", "staging/shard-00001"):
        (filled.path / folder / ".publishing-0").write_text("half")
    # Killed after the first feature file, before the outcomes.
    os.link(filled.path / SHARD, filled.path / "features/net2d.v1/shard-00001.h5")
    assert damages(filled) == []


def test_the_records_beside_the_shards_are_verified(filled: FeatureStore) -> None:
    with filled.lock():
        filled.forget(["a"])
        filled.record_searches(Searches().with_search("/list", {"a"}))
        add_removed(filled.path, "net9d.v1", [0])
    report = filled.verify()
    assert report.sound
    assert report.checked_files == 10
    for name, kind in (("forgotten.json", "count again"), ("removed.json", "again"), ("searches.json", "left")):
        path = filled.path / name
        intact = path.read_bytes()
        path.write_bytes(intact.replace(b"0", b"1", 1) if kind == "again" else intact.replace(b'"a"', b'"b"', 1))
        (damage,) = damages(filled)
        assert (damage.file, "checksum" in damage.what) == (name, True)
        path.write_bytes(intact)


@pytest.mark.parametrize("at", ["staging", "outcomes"])
def test_what_is_published_meanwhile_is_no_damage(
    filled: FeatureStore, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace, at: str
) -> None:
    """A verification needs no lock: a run publishes a shard when its outcomes, or its staged videos, were just read."""

    def on_file(done: int, _total: int) -> None:
        # The first file of shard 1 is its manifest; its outcomes come next, then its staged videos.
        if done == {"outcomes": 5, "staging": 6}[at] and (filled.path / "staging/shard-00001").exists():
            fill(1, (two_d, three_d))

    report = filled.verify(on_file)
    assert report.damages == ()
    assert report.sound
    assert not (filled.path / "staging/shard-00001").exists()


def test_a_file_that_is_written_again_meanwhile_is_no_damage(
    filled: FeatureStore, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace
) -> None:
    def on_file(done: int, _total: int) -> None:
        # After the outcomes of shard 0, before its files.
        if done == 2:
            fill(0, (two_d, three_d), retry=["timeout"])

    before = read_outcomes(filled.path, 0)
    assert filled.verify(on_file).damages == ()
    assert before != read_outcomes(filled.path, 0)
