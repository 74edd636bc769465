from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from reeldex.remote_faults import RemoteError, RemoteFault
from reeldex.storage import verify
from reeldex.storage.errors import StoreUnreadableError
from reeldex.storage.outcomes import FileRecord, read_outcomes, write_outcomes
from reeldex.storage.removed import add_removed
from reeldex.storage.schema import FeatureRows, FeatureSpace
from reeldex.storage.searches import Searches
from reeldex.storage.shard import ShardReader
from reeldex.storage.shard_writing import write_shard
from reeldex.storage.store import FeatureStore
from reeldex.storage.system_errors import list_folder, unreadable
from reeldex.storage.verify_report import Damage
from reeldex.storage.verify_sample import Sample

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


@pytest.mark.slow
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


def test_a_sample_reads_some_shards_and_says_so(
    store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, tmp_path: Path
) -> None:
    grow(*"abcdefghij", videos_per_shard=1)
    for shard in range(9):
        fill(shard, (two_d,))
    fill(9, (two_d,), publish=False)
    sample = Sample.parse("30%", seed=3)
    chosen = sample.of(range(10))
    told: list[tuple[int, int]] = []
    report = store.verify(lambda done, total: told.append((done, total)), sample)
    assert (report.checked_shards, report.total_shards, report.sample) == (3, 10, "30%, seed 3")
    assert report.unchecked == "Sample: 3 of 10 shards (30%, seed 3) read; the other 7 were NOT checked."
    # Manifest, outcomes and features of each; the last one has a staged video instead of the last two.
    files = 9 - (9 in chosen)
    assert (report.checked_files, report.checked_videos) == (files, 3)
    assert told == [(done, files) for done in range(1, files + 1)]
    assert store.verify(sample=sample) == report
    whole = store.verify()
    assert (whole.checked_shards, whole.unchecked, whole.sample) == (10, "", None)
    for shard in range(9):
        flip(store.path / f"features/net2d.v1/shard-{shard:05d}.h5", -1)
    damaged = store.verify(sample=sample)
    assert sorted(damaged.damaged_files) == [shard for shard in chosen if shard < 9]
    # What an earlier verification recorded of the others stays.
    store.record_damage(store.verify())
    store.record_damage(damaged)
    assert len(store.status().damaged) == 9
    (store.path / "manifest/notes.txt").write_text("not a shard's")
    assert "manifest/notes.txt" in {each.file for each in store.verify(sample=Sample(count=1)).damages}


def test_samples_are_chosen_by_their_seed() -> None:
    shards = range(1000)
    assert Sample.parse("1%") == Sample(share=0.01)
    assert Sample.parse(" 50 ", 7) == Sample(count=50, seed=7)
    assert [len(Sample.parse(text).of(shards)) for text in ("1%", "0.01 %", "100%", "50", "5000", ".5%")] == [
        10,
        1,
        1000,
        50,
        1000,
        5,
    ]
    ten, twenty = Sample.parse("1%", 1).of(shards), Sample.parse("2%", 1).of(shards)
    assert set(ten) < set(twenty)
    assert ten != Sample.parse("1%", 2).of(shards)
    assert ten == sorted(ten)
    # As on all machines and with all releases of Python.
    assert Sample(count=3).of(range(20)) == [4, 6, 14]
    assert Sample.parse("7%").of([]) == []


@pytest.mark.parametrize(
    "text", ["", "%", "0", "0%", "101%", "-1", "1.5", "a", "1e3", "50 shards", "\u0661%", "nan%", "1%%"]
)
def test_what_is_no_sample_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"shard"):
        Sample.parse(text)


def test_listings_that_fail_now_and_then_do_not_end_it(
    store: FeatureStore, grow: Act, fill: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(*(f"v{number:02d}" for number in range(32)))
    for shard in range(store.shard_count()):
        fill(shard)
    assert store.shard_count() >= 8
    fault = RemoteFault("unavailable", "the service failed", "Run it again later.")
    asked: list[Path] = []
    fails_always = False

    def listing(folder: Path) -> list[Path]:
        if folder.name == "features":
            asked.append(folder)
            if fails_always or len(asked) % 2:
                error = RemoteError("s3://lab/features", fault)
                raise unreadable(folder, error) from error
        return list_folder(folder)

    monkeypatch.setattr(verify, "list_folder", listing)
    assert [each.file for each in store.verify().unreadable] == ["features"]
    assert len(asked) > 8
    fails_always = True
    with pytest.raises(StoreUnreadableError, match="the service failed"):
        store.verify()
