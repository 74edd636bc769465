from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reeldex.storage import npy_space
from reeldex.storage.errors import (
    FingerprintError,
    StoreDamagedError,
    StoreError,
    StoreUnreadableError,
    UnknownSpaceError,
)
from reeldex.storage.manifest import ShardManifest
from reeldex.storage.npy_export import export_npy
from reeldex.storage.npy_files import load_array
from reeldex.storage.npy_import import import_npy, import_spaces
from reeldex.storage.npy_space import NpySpace, claimed_space, find_spaces
from reeldex.storage.schema import FeatureRows, FeatureSpace, Span, VideoEntry, VideoOutcome
from reeldex.storage.sidecar import SIDECAR, read_sidecar
from reeldex.storage.store import FeatureStore

MakeRows = Callable[..., FeatureRows]
Act = Callable[..., None]

IDS = ["a", "b/c.mp4", "-d", "é\n'%", "f"]
RATES = {"net2d.v1": 1.0, "net3d.v1": 16 / 24}


@pytest.fixture
def filled(store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace) -> FeatureStore:
    grow(*IDS, videos_per_shard=3, spaces=(two_d, three_d))
    fill(0, (two_d, three_d), failing={"-d": "missing"})
    fill(1, (two_d,))
    return store


def forget_origin(folder: Path) -> None:
    """Leave what an archive of earlier times has: .npy files alone."""
    for path in folder.rglob(SIDECAR):
        path.unlink()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_export_writes_the_published_layout(filled: FeatureStore, tmp_path: Path, make_rows: MakeRows) -> None:
    report = export_npy(filled, tmp_path / "out")
    files = {name: content for name, content in contents(tmp_path / "out").items() if not name.endswith(SIDECAR)}
    assert set(files) == {
        *(f"net2d.v1/{video_id}.npy" for video_id in IDS if video_id != "-d"),
        *(f"net3d.v1/{video_id}.npy" for video_id in ("a", "b/c.mp4")),
    }
    rows = np.load(tmp_path / "out/net2d.v1/b/c.mp4.npy")
    assert rows.dtype == np.float16
    assert np.array_equal(rows, make_rows("b/c.mp4 net2d.v1").rows)
    assert (report.written, report.unchanged, report.written_bytes) == (6, 0, sum(map(len, files.values())))
    again = export_npy(filled, tmp_path / "out")
    assert (again.written, again.unchanged) == (0, 6)


def test_export_of_one_space(filled: FeatureStore, tmp_path: Path) -> None:
    export_npy(filled, tmp_path / "out", ["net3d.v1"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["net3d.v1"]
    with pytest.raises(UnknownSpaceError):
        export_npy(filled, tmp_path / "out", ["net4d.v1"])


def test_export_overwrites_only_on_request(filled: FeatureStore, tmp_path: Path) -> None:
    export_npy(filled, tmp_path / "out")
    before = contents(tmp_path / "out")
    other = tmp_path / "out/net2d.v1/a.npy"
    other.write_bytes(b"mine")
    with pytest.raises(StoreError, match=r"a\.npy already exists .*--overwrite"):
        export_npy(filled, tmp_path / "out")
    assert other.read_bytes() == b"mine"
    assert export_npy(filled, tmp_path / "out", overwrite=True).written == 1
    assert contents(tmp_path / "out") == before


def test_there_and_back_again(filled: FeatureStore, tmp_path: Path) -> None:
    export_npy(filled, tmp_path / "out")
    other = FeatureStore(tmp_path / "other", create=True)
    report = import_npy(tmp_path / "out", other, seconds_per_row={}, videos_per_shard=2)
    assert (report.imported, report.already_there, report.not_normalised) == (4, 0, 0)
    export_npy(other, tmp_path / "again")
    again, out = contents(tmp_path / "again"), contents(tmp_path / "out")
    assert {name for name in again if again[name] != out[name]} == {f"{space}/{SIDECAR}" for space in filled.spaces()}
    for space in filled.spaces():
        assert other.fingerprint(space) == filled.fingerprint(space)
        assert sorted(other.ids(space)) == sorted(filled.ids(space))
        for video_id in filled.ids(space):
            mine, theirs = other.rows(space, video_id), filled.rows(space, video_id)
            assert np.array_equal(mine.rows, theirs.rows)
            assert all(
                getattr(mine, name) == getattr(theirs, name)
                for name in ("start_seconds", "seconds_per_row", "duration_seconds", "truncated", "source")
            )
            assert other.entry(video_id) == filled.entry(video_id)
            assert other.outcome(video_id) == filled.outcome(video_id)
            assert other.provenance(space, video_id) == {"host": "test", "origin": "imported npy"}
    assert other.verify().damages == ()
    assert other.status().shards_done == len(other.manifests()) == 2
    assert other.status().seconds_of_video_ok == filled.status().seconds_of_video_ok


def test_features_of_unknown_origin(filled: FeatureStore, tmp_path: Path) -> None:
    export_npy(filled, tmp_path / "out")
    forget_origin(tmp_path / "out")
    other = FeatureStore(tmp_path / "other", create=True)
    report = import_npy(tmp_path / "out", other, seconds_per_row=RATES, videos_per_shard=2)
    assert (report.imported, report.already_there, report.not_normalised) == (4, 0, 6)
    assert other.fingerprint("net3d.v1") == {"origin": "imported npy", "seconds_per_row": 16 / 24, "dimensions": 8}
    for space in filled.spaces():
        for video_id in filled.ids(space):
            assert np.array_equal(other.read(space, video_id), filled.read(space, video_id))
            assert other.rows(space, video_id).seconds_per_row == RATES[space]
    # 6 rows each: 6 s in 2-D, and 4 s in 3-D.
    assert {video.duration_seconds for video in other.videos()} == {6.0}


def test_durations_that_an_older_store_lacks_come_from_the_rows(
    store: FeatureStore, grow: Act, make_rows: MakeRows
) -> None:
    grow("a", "b", videos_per_shard=2)
    space = FeatureSpace("net2d.v1", {"origin": "imported npy"})
    for position, video_id in enumerate("ab"):
        rows = make_rows(video_id, row_count=4 + position, seconds_per_row=0.5)
        outcome = VideoOutcome(video_id, f"/videos/{video_id}.mp4", "ok", None, "", attempts=1)
        store.staging(0).put(position, outcome, {space: rows})
    store.publish_shard(0, [space], provenance={}, seconds_of_work=0)
    assert '"duration_seconds": null' in (store.path / "outcomes/shard-00000.json").read_text()
    assert [video.duration_seconds for video in store.videos()] == [2.0, 2.5]
    assert store.status().seconds_of_video_ok == 4.5
    (store.path / "features/net2d.v1/shard-00000.h5").unlink()
    assert [video.duration_seconds for video in FeatureStore(store.path).videos()] == [None, None]


def test_a_changed_an_added_and_a_renamed_export(filled: FeatureStore, tmp_path: Path) -> None:
    export_npy(filled, tmp_path / "out")
    other = FeatureStore(tmp_path / "other", create=True)
    changed = tmp_path / "out/net2d.v1/a.npy"
    before = changed.read_bytes()
    np.save(changed, -np.load(changed))
    with pytest.raises(StoreError, match=r"a\.npy is not the file that was exported: .* SHA-256"):
        import_npy(tmp_path / "out", other, seconds_per_row={})
    changed.write_bytes(before)
    added = tmp_path / "out/net2d.v1/new.npy"
    shutil.copyfile(changed, added)
    with pytest.raises(StoreError, match=r"new\.npy is not listed in .*features\.json"):
        import_npy(tmp_path / "out", other, seconds_per_row={})
    added.unlink()
    record = tmp_path / "out/net2d.v1/features.json"
    written = record.read_text()
    record.write_text(written.replace('"fps": 1', '"fps": 2'))
    with pytest.raises(
        StoreDamagedError,
        match=r"features\.json: .*edited or damaged\. Export .* --overwrite, or import .* --without-record",
    ):
        import_npy(tmp_path / "out", other, seconds_per_row={})
    record.write_text(written)
    assert other.manifests() == ()
    # The record says what a folder holds, whatever its name; some files may be left out.
    (tmp_path / "out/net2d.v1").rename(tmp_path / "out/2 D")
    (tmp_path / "out/2 D/f.npy").unlink()
    import_npy(tmp_path / "out/2 D", other, seconds_per_row={})
    assert other.spaces() == ["net2d.v1"]
    assert sorted(other.ids()) == sorted(set(filled.ids()) - {"f"})


def test_a_record_covers_all_exports_to_its_folder(filled: FeatureStore, tmp_path: Path, make_rows: MakeRows) -> None:
    other = FeatureStore(tmp_path / "other", create=True)
    out = tmp_path / "out"
    export_npy(filled, out, ["net2d.v1"])
    (out / "net2d.v1/f.npy").unlink()
    mtime = (out / "net2d.v1" / SIDECAR).stat().st_mtime_ns
    folder = tmp_path / "more/net2d.v1"
    folder.mkdir(parents=True)
    np.save(folder / "z.npy", make_rows("z").rows)
    space = FeatureSpace("net2d.v1", filled.fingerprint("net2d.v1"))
    import_spaces({space.name: NpySpace(space, {"z": folder / "z.npy"}, 1.0)}, other)
    export_npy(other, out)
    sidecar = read_sidecar(out / "net2d.v1")
    assert sidecar is not None
    assert list(sidecar.videos) == sorted(["a", "b/c.mp4", "z", "é\n'%"])
    assert sidecar.provenances[sidecar.videos["a"].provenance] == {"host": "test"}
    assert (out / "net2d.v1" / SIDECAR).stat().st_mtime_ns != mtime
    unlike = FeatureStore(tmp_path / "unlike", create=True)
    import_npy(tmp_path / "more", unlike, seconds_per_row=RATES)
    with pytest.raises(StoreError, match=r"features\.json records features of net2d\.v1 with other settings, of 'a'"):
        export_npy(unlike, out, overwrite=True)


def test_a_space_is_added_to_shards_that_lack_it(filled: FeatureStore, tmp_path: Path) -> None:
    export_npy(filled, tmp_path / "out")
    shutil.rmtree(tmp_path / "out/net3d.v1/b")
    other = FeatureStore(tmp_path / "other", create=True)
    one, two = (tmp_path / "out" / name for name in ("net2d.v1", "net3d.v1"))
    assert import_npy(one, other, seconds_per_row={}).imported == 4
    with pytest.raises(
        StoreError, match=r"net3d\.v1 cannot be added to shard 0 .* files of 1 of its videos, .*none of"
    ):
        import_npy(two, other, seconds_per_row={})
    for video_id in ("b/c.mp4", "f", "é\n'%"):
        (one / f"{video_id}.npy").unlink()
    third = FeatureStore(tmp_path / "third", create=True)
    assert import_npy(one, third, seconds_per_row={}).imported == 1
    assert import_npy(two, third, seconds_per_row={}).imported == 1
    assert import_npy(two, third, seconds_per_row={}).already_there == 1
    assert third.spaces() == ["net2d.v1", "net3d.v1"]
    assert len(third.manifests()) == 1
    assert third.verify().sound


def claimed(**changes: object) -> FeatureSpace:
    return FeatureSpace("net2d.v1", {"claimed": True, "seconds_per_row": 1.0, "dimensions": 8, **changes})  # type: ignore[dict-item]


def test_a_claim_is_recorded_and_never_mixes(filled: FeatureStore, tmp_path: Path) -> None:
    export_npy(filled, tmp_path / "out", ["net2d.v1"])
    folder = tmp_path / "out/net2d.v1"
    with pytest.raises(StoreError, match=r"features\.json records that these are features of net2d\.v1"):
        claimed_space(folder, claimed(), 1.0)
    forget_origin(folder)
    other = FeatureStore(tmp_path / "other", create=True)
    # The folder of the files, or the one above it.
    for place in (folder, folder.parent):
        report = import_spaces({"net2d.v1": claimed_space(place, claimed(), 1.0)}, other)
        assert (report.imported + report.already_there, report.not_normalised) == (4, 4)
    assert other.fingerprint("net2d.v1")["claimed"] is True
    assert other.provenance("net2d.v1", "a") == {"origin": "imported npy", "claimed": ["net2d.v1"]}
    with pytest.raises(FingerprintError, match="claimed: the store has null, this run has true"):
        import_spaces({"net2d.v1": claimed_space(folder, claimed(), 1.0)}, filled)
    with pytest.raises(StoreError, match=r"rows of dimension 8, other files of net2d\.v1 have 2048"):
        import_spaces({"net2d.v1": claimed_space(folder, claimed(dimensions=2048), 1.0)}, other)
    # A claim survives the way out and in.
    export_npy(other, tmp_path / "again")
    third = FeatureStore(tmp_path / "third", create=True)
    import_npy(tmp_path / "again", third, seconds_per_row={})
    assert third.fingerprint("net2d.v1") == other.fingerprint("net2d.v1")


def test_import_takes_only_new_ids(filled: FeatureStore, tmp_path: Path) -> None:
    export_npy(filled, tmp_path / "out", ["net2d.v1"])
    forget_origin(tmp_path / "out")
    other = FeatureStore(tmp_path / "other", create=True)
    import_npy(tmp_path / "out", other, seconds_per_row=RATES)
    shutil.copyfile(tmp_path / "out/net2d.v1/a.npy", tmp_path / "out/net2d.v1/new.npy")
    report = import_npy(tmp_path / "out", other, seconds_per_row=RATES)
    assert (report.imported, report.already_there) == (1, 4)
    assert len(other.manifests()) == 2
    assert len(other) == 5


@pytest.mark.parametrize("recorded", [True, False])
def test_an_interrupted_import_goes_on(
    *, filled: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    export_npy(filled, tmp_path / "out")
    if not recorded:
        forget_origin(tmp_path / "out")
    other = FeatureStore(tmp_path / "other", create=True)
    calls = []
    real = npy_space.NpySpace.rows

    def dying(space: NpySpace, video_id: str) -> FeatureRows:
        calls.append(video_id)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(space, video_id)

    monkeypatch.setattr(npy_space.NpySpace, "rows", dying)
    with pytest.raises(KeyboardInterrupt):
        import_npy(tmp_path / "out", other, seconds_per_row=RATES, videos_per_shard=2)
    assert len(other) < 4
    assert import_npy(tmp_path / "out", other, seconds_per_row=RATES, videos_per_shard=2).imported
    assert len(other) == 4
    assert other.status().pending == 0


def test_features_of_other_origin_do_not_mix(filled: FeatureStore, tmp_path: Path) -> None:
    export_npy(filled, tmp_path / "out", ["net2d.v1"])
    forget_origin(tmp_path / "out")
    shutil.copyfile(tmp_path / "out/net2d.v1/a.npy", tmp_path / "out/net2d.v1/new.npy")
    with pytest.raises(FingerprintError, match=r'origin: the store has null, this run has "imported npy"'):
        import_npy(tmp_path / "out", filled, seconds_per_row=RATES)
    assert len(filled.manifests()) == 2


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (np.ones((2, 3), np.float32), r"float32 \(2, 3\), not \(rows, dimension\) float16"),
        (np.ones(3, np.float16), r"float16 \(3,\)"),
        (np.ones((0, 3), np.float16), "empty"),
        (np.array([[np.nan] * 8], np.float16), "NaN"),
        (np.ones((2, 5), np.float16), "rows of dimension 5, other files of net2d.v1 have 8"),
        (np.array([[None]], object), "cannot be read as an array of numbers"),
        (b"hello", "cannot be read as an array of numbers: it is not an .npy file"),
        (np.ones((2, 8), np.int16), "int16"),
        (b"", "cannot be read as an array of numbers"),
    ],
)
def test_unfit_files_are_named_and_nothing_is_written(
    filled: FeatureStore,
    tmp_path: Path,
    content: np.ndarray | bytes,
    complaint: str,
) -> None:
    export_npy(filled, tmp_path / "out", ["net2d.v1"])
    forget_origin(tmp_path / "out")
    path = tmp_path / "out/net2d.v1/unfit.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    other = FeatureStore(tmp_path / "other", create=True)
    with pytest.raises(StoreError, match=rf"unfit\.npy .*{complaint}"):
        import_npy(tmp_path / "out", other, seconds_per_row=RATES)
    assert other.manifests() == ()


def test_a_folder_without_features_and_a_space_without_rate(filled: FeatureStore, tmp_path: Path) -> None:
    other = FeatureStore(tmp_path / "other", create=True)
    (tmp_path / "empty/net2d.v1").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"contains no \.npy files in the layout"):
        import_npy(tmp_path / "empty", other, seconds_per_row=RATES)
    export_npy(filled, tmp_path / "out", ["net2d.v1"])
    forget_origin(tmp_path / "out")
    with pytest.raises(StoreError, match=r"seconds_per_row of net2d\.v1 is missing"):
        import_npy(tmp_path / "out", other, seconds_per_row={})
    (tmp_path / "out/net2d.v1").rename(tmp_path / "out/2d")
    with pytest.raises(StoreError, match="Rename the folder"):
        import_npy(tmp_path / "out", other, seconds_per_row=RATES)
    with pytest.raises(StoreError, match=r"a\.npy is not in the folder of a feature space: .*--as SPACE --trust"):
        import_npy(tmp_path / "out/2d", other, seconds_per_row=RATES)


def test_names_in_two_unicode_forms(tmp_path: Path) -> None:
    for space, name in (("net2d.v1", "caf\u00e9"), ("net3d.v1", "cafe\u0301")):
        (tmp_path / "npy" / space).mkdir(parents=True)
        np.save(tmp_path / "npy" / space / f"{name}.npy", np.ones((2, 3), np.float16))
    other = FeatureStore(tmp_path / "other", create=True)
    with pytest.raises(StoreError, match=r"'cafe\\u0301' and 'caf\\xe9' differ only in the Unicode form"):
        import_npy(tmp_path / "npy", other, seconds_per_row=RATES)
    assert other.manifests() == ()


def test_a_name_that_cannot_be_an_id(tmp_path: Path) -> None:
    folder = tmp_path / "npy/net2d.v1"
    folder.mkdir(parents=True)
    np.save(folder / os.fsdecode(b"\xff.npy"), np.ones((2, 3), np.float16))
    with pytest.raises(StoreError, match=r"it cannot be written as UTF-8.*Rename the file"):
        import_npy(tmp_path / "npy", FeatureStore(tmp_path / "other", create=True), seconds_per_row=RATES)


def test_clips_and_notes_survive_a_round_trip(store: FeatureStore, tmp_path: Path, make_rows: MakeRows) -> None:
    space = FeatureSpace("net2d.v1", {"fps": 1})
    entry = VideoEntry("clip", "/videos/a.mp4", 10, 20, span=Span(30.0, 36.0))
    store.add_shards([ShardManifest(0, (entry,), (space.name,))])
    outcome = VideoOutcome(
        "clip", entry.path, "ok", None, "Repaired.", 1, duration_seconds=6.0, notes=("timestamps_repaired",)
    )
    rows = FeatureRows(make_rows("clip").rows, 30.0, 1.0, 6.0, truncated=False, source=entry.path)
    store.staging(0).put(0, outcome, {space: rows})
    store.publish_shard(0, [space], provenance={"ffmpeg": "9.0.2"}, seconds_of_work=0)
    export_npy(store, tmp_path / "npy")
    other = FeatureStore(tmp_path / "other", create=True)
    assert import_npy(tmp_path / "npy", other, seconds_per_row={}).imported == 1
    assert other.entry("clip") == entry
    assert other.outcome("clip") == store.outcome("clip")
    assert other.rows("net2d.v1", "clip").start_seconds == 30.0
    assert other.provenance("net2d.v1", "clip")["ffmpeg"] == "9.0.2"


def test_damaged_rows_and_colours_come_back(
    store: FeatureStore, grow: Act, two_d: FeatureSpace, tmp_path: Path, make_rows: MakeRows
) -> None:
    ids = ["a", "b", "c"]
    grow(*ids)
    for position, (video_id, damaged) in enumerate(zip(ids, [((1, 3), (4, 5)), (), None], strict=True)):
        rows = replace(make_rows(video_id), damaged_rows=damaged, colour={"transfer": "smpte2084"} if damaged else {})
        entry = store.manifests()[0].videos[position]
        outcome = VideoOutcome(video_id, entry.path, "ok", None, "", attempts=1)
        store.staging(0).put(position, outcome, {two_d: rows})
    store.publish_shard(0, [two_d], provenance={}, seconds_of_work=0.0)
    export_npy(store, tmp_path / "out")
    back = FeatureStore(tmp_path / "back", create=True)
    assert import_npy(tmp_path / "out", back, seconds_per_row={}).imported == 3
    assert [back.damaged_rows(two_d.name, each) for each in ids] == [((1, 3), (4, 5)), (), None]
    assert [dict(back.rows(two_d.name, each).colour) for each in ids] == [{"transfer": "smpte2084"}, {}, {}]


def test_a_record_of_an_earlier_release_is_read(filled: FeatureStore, tmp_path: Path) -> None:
    export_npy(filled, tmp_path / "out", ["net2d.v1"])
    assert "colour" not in (tmp_path / "out/net2d.v1" / SIDECAR).read_text("utf-8")
    assert "damaged_rows" not in (tmp_path / "out/net2d.v1" / SIDECAR).read_text("utf-8")


def files_of(folder: Path, space: FeatureSpace, rows: dict[str, FeatureRows]) -> dict[str, NpySpace]:
    folder.mkdir(parents=True)
    for video_id, each in rows.items():
        (folder / video_id).parent.mkdir(exist_ok=True)
        np.save(folder / f"{video_id}.npy", each.rows)
    return {space.name: NpySpace(space, {video_id: folder / f"{video_id}.npy" for video_id in rows}, 1.0)}


def test_videos_that_the_store_knows_without_features_are_not_said_to_be_there(
    store: FeatureStore, grow: Act, fill: Act, tmp_path: Path, make_rows: MakeRows
) -> None:
    """a is there with these rows, b with others, c failed, d is not extracted yet; e is new."""
    two_d = FeatureSpace("net2d.v1", {"weights": "aa", "fps": 1})
    grow("a", "b", "c")
    grow("d")
    fill(0, failing={"c": "missing"})
    rows = {"a": make_rows(f"a {two_d.name}"), **{each: make_rows(f"other {each}") for each in "bcde"}}
    files = files_of(tmp_path / "npy", two_d, rows)
    report = import_spaces(files, store)
    assert (report.imported, report.already_there, report.differing, report.lacking) == (1, 2, 1, 2)
    assert store.ids() == ["a", "b", "e"]
    with store.lock():
        store.forget(["c", "d"])
    report = import_spaces(files, store)
    assert (report.imported, report.already_there, report.differing, report.lacking) == (2, 3, 1, 0)
    assert sorted(store.ids()) == ["a", "b", "c", "d", "e"]
    assert np.array_equal(store.read(two_d.name, "c"), rows["c"].rows)


def test_a_space_is_added_to_a_shard_with_videos_that_no_longer_count(
    filled: FeatureStore, grow: Act, fill: Act, tmp_path: Path, make_rows: MakeRows
) -> None:
    """Of shard 1, é is superseded and f stays; neither has features in the space that is added."""
    two_d, added = FeatureSpace("net2d.v1", {"weights": "aa", "fps": 1}), FeatureSpace("net4d.v1", {"weights": "cc"})
    grow(VideoEntry(IDS[3], f"/videos/{IDS[3]}.mp4", 11, 20), spaces=(two_d,))
    fill(2)
    with filled.lock():
        filled.forget(["a"])
    names = ["b/c.mp4", "f", IDS[3]]
    report = import_spaces(files_of(tmp_path / "npy", added, {each: make_rows(each) for each in names}), filled)
    assert (report.imported, report.already_there, report.lacking) == (3, 0, 0)
    assert sorted(filled.ids(added.name)) == sorted(names)
    outcomes = filled.outcomes(1)
    assert outcomes
    assert [added.name in each.rows for each in outcomes.videos] == [False, True], "two versions do not mix"
    assert filled.verify().sound


def test_a_header_that_promises_more_than_memory_holds(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npy"
    with path.open("wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (10**13, 2048)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(StoreError, match=r"bomb\.npy cannot be read .* more than fit in memory"):
        load_array(path)


def test_a_damaged_record_can_be_written_again_or_ignored(filled: FeatureStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_npy(filled, out)
    record = out / "net2d.v1" / SIDECAR
    intact = record.read_bytes()
    record.write_bytes(intact[:-20])
    other = FeatureStore(tmp_path / "other", create=True)
    with pytest.raises(StoreDamagedError, match="--without-record"):
        find_spaces(out, RATES)
    assert import_spaces(find_spaces(out, RATES, records=False), other).imported == 4
    assert other.fingerprint("net2d.v1")["origin"] == "imported npy"
    assert claimed_space(out / "net2d.v1", claimed(), 1.0, records=False).sidecar is None
    with pytest.raises(StoreDamagedError, match="--overwrite"):
        export_npy(filled, out)
    export_npy(filled, out, overwrite=True)
    assert record.read_bytes() == intact


def test_an_export_into_a_store_is_refused(filled: FeatureStore) -> None:
    before = contents(filled.path)
    with pytest.raises(StoreError, match=r"is a feature store, in which \.npy files do not belong"):
        export_npy(filled, filled.path)
    assert contents(filled.path) == before


def test_a_link_to_nothing_beside_the_features_does_not_matter(filled: FeatureStore, tmp_path: Path) -> None:
    export_npy(filled, tmp_path / "out")
    (tmp_path / "out" / "a.mp4").symlink_to(tmp_path / "absent")
    assert sorted(find_spaces(tmp_path / "out", {})) == filled.spaces()
    (tmp_path / "out" / "net4d.v1").symlink_to(tmp_path / "not mounted")
    with pytest.raises(StoreUnreadableError, match="mount its disk"):
        find_spaces(tmp_path / "out", {})
