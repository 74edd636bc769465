from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reeldex.storage import convert
from reeldex.storage.convert import export_npy, import_npy
from reeldex.storage.errors import FingerprintError, StoreError, UnknownSpaceError
from reeldex.storage.schema import FeatureRows, FeatureSpace
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


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_export_writes_the_published_layout(filled: FeatureStore, tmp_path: Path, make_rows: MakeRows) -> None:
    report = export_npy(filled, tmp_path / "out")
    files = contents(tmp_path / "out")
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
    report = import_npy(tmp_path / "out", other, seconds_per_row=RATES, videos_per_shard=2)
    assert (report.imported, report.already_there) == (4, 0)
    export_npy(other, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tmp_path / "out")
    for space in filled.spaces():
        assert sorted(other.ids(space)) == sorted(filled.ids(space))
        for video_id in filled.ids(space):
            assert np.array_equal(other.read(space, video_id), filled.read(space, video_id))
            assert other.rows(space, video_id).seconds_per_row == RATES[space]
    assert other.fingerprint("net3d.v1") == {"origin": "imported npy", "seconds_per_row": 16 / 24, "dimensions": 8}
    assert other.verify().damages == ()
    assert other.status().shards_done == len(other.manifests()) == 2


def test_import_takes_only_new_ids(filled: FeatureStore, tmp_path: Path) -> None:
    export_npy(filled, tmp_path / "out", ["net2d.v1"])
    other = FeatureStore(tmp_path / "other", create=True)
    import_npy(tmp_path / "out", other, seconds_per_row=RATES)
    shutil.copyfile(tmp_path / "out/net2d.v1/a.npy", tmp_path / "out/net2d.v1/new.npy")
    report = import_npy(tmp_path / "out", other, seconds_per_row=RATES)
    assert (report.imported, report.already_there) == (1, 4)
    assert len(other.manifests()) == 2
    assert len(other) == 5


def test_an_interrupted_import_goes_on(filled: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_npy(filled, tmp_path / "out")
    other = FeatureStore(tmp_path / "other", create=True)
    calls = []
    real = convert._rows

    def dying(path: Path, space: FeatureSpace) -> FeatureRows:
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(path, space)

    monkeypatch.setattr(convert, "_rows", dying)
    with pytest.raises(KeyboardInterrupt):
        import_npy(tmp_path / "out", other, seconds_per_row=RATES, videos_per_shard=2)
    assert len(other) < 4
    assert import_npy(tmp_path / "out", other, seconds_per_row=RATES, videos_per_shard=2).imported
    assert len(other) == 4
    assert other.status().pending == 0


def test_features_of_other_origin_do_not_mix(filled: FeatureStore, tmp_path: Path) -> None:
    export_npy(filled, tmp_path / "out", ["net2d.v1"])
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
        (b"hello", "cannot be read as an array of numbers"),
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
    with pytest.raises(StoreError, match=r"seconds_per_row of net2d\.v1 is missing"):
        import_npy(tmp_path / "out", other, seconds_per_row={})
    (tmp_path / "out/net2d.v1").rename(tmp_path / "out/2d")
    with pytest.raises(StoreError, match="Rename the folder"):
        import_npy(tmp_path / "out", other, seconds_per_row=RATES)
