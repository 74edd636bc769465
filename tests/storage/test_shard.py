from __future__ import annotations

import errno
import hashlib
import json
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from reeldex.storage.errors import StoreDamagedError, UnknownVideoError
from reeldex.storage.schema import FeatureRows, FeatureSpace
from reeldex.storage.shard import ShardReader
from reeldex.storage.shard_writing import write_shard

MakeRows = Callable[..., FeatureRows]

IDS = ["z", "n/2", "-x", "a b'\"\n%41%", "n/deep/é日本", "m", "n/1", "1", "a.mp4", "日"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shard-00003.h5"


def test_every_id_comes_back_in_order_with_its_rows(path: Path, two_d: FeatureSpace, make_rows: MakeRows) -> None:
    write_shard(path, two_d, 3, ((video_id, make_rows(video_id)) for video_id in IDS), {"host": "h"})
    with ShardReader(path) as reader:
        assert reader.ids() == IDS
        assert (reader.space, reader.shard, reader.provenance) == (two_d, 3, {"host": "h"})
        for video_id in IDS:
            assert np.array_equal(reader.read(video_id).rows, make_rows(video_id).rows)
        assert reader.check() == []


def test_the_file_reads_with_plain_h5py_as_documented(path: Path, two_d: FeatureSpace) -> None:
    rows = np.arange(6, dtype=np.float16).reshape(2, 3)
    write_shard(path, two_d, 3, [("a/b", FeatureRows(rows, 0.5, 2 / 3, None, truncated=True, source="s"))], {"x": 1})
    with h5py.File(path) as file:
        assert dict(file.attrs) | {"created": ""} == {
            "format": "reeldex-features",
            "format_version": 1,
            "space": "net2d.v1",
            "fingerprint": '{"fps":1,"weights":"aa"}',
            "provenance": '{"x": 1}',
            "shard": 3,
            "created": "",
        }
        assert str(file.attrs["created"]).endswith("+00:00")
        dataset = file["features/a/b"]
        assert dataset.chunks is None
        assert dataset.dtype == np.float16
        assert np.array_equal(dataset[()], rows)
        attributes = dict(dataset.attrs)
        assert np.isnan(attributes.pop("duration_seconds"))
        assert attributes == {
            "start_seconds": 0.5,
            "seconds_per_row": 2 / 3,
            "truncated": True,
            "source": "s",
            "position": 0,
            "sha256": hashlib.sha256(b"<f2 2x3\n" + rows.tobytes()).hexdigest(),
        }


def test_values_survive(path: Path, two_d: FeatureSpace) -> None:
    rows = np.ones((2, 3), np.float16)
    given = FeatureRows(rows, 0.25, 16 / 24, 1.5, truncated=True, source="/videos/\udcff.mp4")
    write_shard(path, two_d, 0, [("a", given)], {})
    with ShardReader(path) as reader:
        read = reader.read("a")
    for name in ("start_seconds", "seconds_per_row", "duration_seconds", "truncated", "source"):
        assert getattr(read, name) == getattr(given, name)
        assert type(getattr(read, name)) is type(getattr(given, name))


@pytest.mark.parametrize("damaged", [None, (), ((0, 1),), ((0, 2), (3, 4))])
@pytest.mark.parametrize("colour", [{}, {"range": "tv", "transfer": "smpte2084"}])
def test_colours_and_damaged_rows_survive(
    path: Path, two_d: FeatureSpace, damaged: tuple[tuple[int, int], ...] | None, colour: dict[str, str]
) -> None:
    rows = np.ones((4, 3), np.float16)
    given = FeatureRows(rows, 0.0, 1.0, 4.0, truncated=False, source="s", colour=colour, damaged_rows=damaged)
    write_shard(path, two_d, 0, [("a", given)], {})
    with ShardReader(path) as reader:
        assert (reader.read("a").colour, reader.read("a").damaged_rows) == (colour, damaged)
        assert reader.damaged_rows("a") == damaged
    with h5py.File(path) as file:
        attributes = dict(file["features/a"].attrs)
    assert {name: value for name, value in attributes.items() if name.startswith("colour_")} == {
        f"colour_{name}": value for name, value in colour.items()
    }
    if damaged is None:
        assert "damaged_rows" not in attributes
    else:
        assert attributes["damaged_rows"].tolist() == [list(each) for each in damaged]


@pytest.mark.parametrize("damaged", [((0, 0),), ((2, 1),), ((-1, 1),), ((0, 5),), ((0, 2), (2, 3)), ((2, 3), (0, 1))])
def test_damaged_rows_are_separate_ranges_of_rows(damaged: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="damaged_rows must be"):
        FeatureRows(np.ones((4, 3), np.float16), 0.0, 1.0, 4.0, truncated=False, source="s", damaged_rows=damaged)


def test_a_shard_without_videos_has_an_empty_group(path: Path, two_d: FeatureSpace) -> None:
    write_shard(path, two_d, 0, [], {})
    with ShardReader(path) as reader:
        assert reader.ids() == []
    with h5py.File(path) as file:
        assert list(file["features"]) == []


def test_equal_items_give_equal_datasets(tmp_path: Path, two_d: FeatureSpace, make_rows: MakeRows) -> None:
    contents = []
    for name in ("one.h5", "two.h5"):
        write_shard(tmp_path / name, two_d, 0, [(video_id, make_rows(video_id)) for video_id in IDS], {})
        with h5py.File(tmp_path / name) as file:
            contents.append([(file["features"][at][()].tobytes(), dict(file["features"][at].attrs)) for at in IDS])
    assert contents[0] == contents[1]


def test_row_ranges(path: Path, two_d: FeatureSpace, make_rows: MakeRows) -> None:
    rows = make_rows("a", row_count=10)
    write_shard(path, two_d, 0, [("a", rows)], {})
    with ShardReader(path) as reader:
        for first, stop in [(0, 10), (3, 5), (8, 99), (20, 30), (4, 4), (5, 3)]:
            assert np.array_equal(reader.read_rows("a", first, stop), rows.rows[first:stop])
            assert reader.read_rows("a", first, stop).shape[1] == 8
        with pytest.raises(ValueError, match="counted from 0"):
            reader.read_rows("a", -1, 2)
        with pytest.raises(UnknownVideoError, match="no features of the video 'b'"):
            reader.read_rows("b", 0, 1)


@pytest.mark.parametrize("ids", [["a", "a"], ["a", "a/b"], ["a/b", "a"], ["a/b/c", "a/b"], ["a", "../b"], [""]])
def test_ids_that_cannot_share_a_file_leave_none(
    path: Path, two_d: FeatureSpace, make_rows: MakeRows, ids: list[str]
) -> None:
    with pytest.raises(ValueError, match="id"):
        write_shard(path, two_d, 0, [(video_id, make_rows(video_id)) for video_id in ids], {})
    assert list(path.parent.iterdir()) == []


def test_rows_of_one_space_have_one_width(path: Path, two_d: FeatureSpace, make_rows: MakeRows) -> None:
    with pytest.raises(ValueError, match="'b' have dimension 5"):
        write_shard(path, two_d, 0, [("a", make_rows(width=4)), ("b", make_rows(width=5))], {})


def test_one_video_at_a_time(path: Path, two_d: FeatureSpace, make_rows: MakeRows) -> None:
    made: list[weakref.ref[FeatureRows]] = []

    def items() -> Iterator[tuple[str, FeatureRows]]:
        for video_id in "abcdef":
            rows = make_rows(video_id)
            made.append(weakref.ref(rows))
            yield video_id, rows
            del rows
            # The writer may still hold the one that it has just written.
            assert [ref() for ref in made[:-1]] == [None] * (len(made) - 1)

    write_shard(path, two_d, 0, items(), {})


def test_an_absent_file_is_not_a_damaged_one(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"shard-00003\.h5 is missing"):
        ShardReader(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89HDF\r\n\x1a\n" + b"\0" * 100])
def test_a_file_that_is_no_hdf5_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreDamagedError, match=r"shard-00003.h5 is not an intact shard file.*reeldex rerun"):
        ShardReader(path)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "x"},
        {"format_version": 2},
        {"space": "bad"},
        {"fingerprint": "{"},
        {"shard": "x"},
        {"fingerprint": "3"},
    ],
)
def test_a_foreign_hdf5_file_is_refused(
    path: Path, two_d: FeatureSpace, make_rows: MakeRows, change: dict[str, Any]
) -> None:
    write_shard(path, two_d, 0, [("a", make_rows())], {})
    with h5py.File(path, "r+") as file:
        file.attrs.update(change)
    with pytest.raises(StoreDamagedError, match="not an intact shard file"):
        ShardReader(path)


def test_check_names_the_damaged_video(path: Path, two_d: FeatureSpace, make_rows: MakeRows) -> None:
    write_shard(path, two_d, 0, [(video_id, make_rows(video_id)) for video_id in IDS], {})
    content = bytearray(path.read_bytes())
    content[content.index(make_rows("m").rows.tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with ShardReader(path) as reader:
        (damage,) = reader.check()
        assert damage[0] == "m"
        assert "SHA-256" in damage[1]
        with pytest.raises(StoreDamagedError, match="/features/m"):
            reader.read("m")
        reader.read("z")


def test_a_fingerprint_with_text_of_any_length(path: Path) -> None:
    space = FeatureSpace("net.v1", {"note": "é" * 100_000})
    write_shard(path, space, 0, [], {"log": "x" * 100_000})
    with ShardReader(path) as reader:
        assert reader.space == space
        assert json.dumps(reader.provenance) == json.dumps({"log": "x" * 100_000})


def test_more_damaged_ranges_than_an_attribute_holds_are_joined_where_they_are_nearest(
    path: Path, two_d: FeatureSpace
) -> None:
    # 9,000 single rows: after every third one there is a wide gap.
    firsts = np.cumsum(np.where(np.arange(9000) % 3 == 0, 10, 2)).tolist()
    given = tuple((first, first + 1) for first in firsts)
    rows = FeatureRows(
        np.ones((firsts[-1] + 5, 1), np.float16), 0.0, 1.0, None, truncated=False, source="s", damaged_rows=given
    )
    write_shard(path, two_d, 0, [("a", rows)], {})
    with ShardReader(path) as reader:
        found = reader.damaged_rows("a")
    assert found
    assert len(found) == 4000
    # 3,000 groups, and 1,000 of the narrow gaps within them are kept.
    inside = np.zeros(len(rows.rows), bool)
    for first, stop in found:
        inside[first:stop] = True
    assert inside[firsts].all()
    assert (inside.sum(), len(rows.rows) - inside.sum()) == (9000 + 5000, len(rows.rows) - 14000)


def test_hdf5_looks_up_a_video_once(
    path: Path, two_d: FeatureSpace, make_rows: MakeRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shard(path, two_d, 0, ((video_id, make_rows(video_id)) for video_id in ("a", "b")), {})
    looked_up = []
    dataset = ShardReader._dataset

    def counted(reader: ShardReader, video_id: str) -> h5py.Dataset:
        looked_up.append(video_id)
        return dataset(reader, video_id)

    monkeypatch.setattr(ShardReader, "_dataset", counted)
    with ShardReader(path) as reader:
        for _ in range(3):
            for video_id in ("a", "b"):
                assert np.array_equal(reader.read_rows(video_id, 1, 4), make_rows(video_id).rows[1:4])
                assert np.array_equal(reader.map_rows(video_id)[1], make_rows(video_id).rows)
                assert reader.timing(video_id).row_count == 6
    assert looked_up == ["a", "b"]


def test_rows_of_a_repacked_file_are_read_by_hdf5(path: Path, two_d: FeatureSpace, make_rows: MakeRows) -> None:
    rows = make_rows("a").rows
    write_shard(path, two_d, 0, [("a", make_rows("a"))], {})
    with h5py.File(path, "r+") as file:
        attributes = dict(file["features/a"].attrs)
        del file["features/a"]
        file.create_dataset("features/a", data=rows, chunks=(2, 8)).attrs.update(attributes)
    with ShardReader(path) as reader:
        assert np.array_equal(reader.read_rows("a", 1, 5), rows[1:5])
        with pytest.raises(StoreDamagedError, match=r"the rows of 'a' are not stored in one piece.*reeldex verify"):
            reader.map_rows("a")


def test_a_file_that_shrinks_while_it_is_open_is_damaged(path: Path, two_d: FeatureSpace, make_rows: MakeRows) -> None:
    write_shard(path, two_d, 0, [("a", make_rows("a", 500))], {})
    with ShardReader(path) as reader:
        assert len(reader.read_rows("a", 0, 500)) == 500
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
        with pytest.raises(StoreDamagedError, match="the file ends before its rows do"):
            reader.read_rows("a", 0, 500)


def test_a_file_that_the_disk_did_not_take_is_not_published(
    tmp_path: Path, two_d: FeatureSpace, make_rows: MakeRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync
    failed: list[int] = []

    def fails_once(descriptor: int) -> None:
        if not failed:
            failed.append(descriptor)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fails_once)
    # The system reports a lost write to the first that asks, and to nobody else.
    with pytest.raises(OSError, match="Input/output error"):
        write_shard(tmp_path / "shard.h5", two_d, 0, [("a", make_rows("a"))], {})
    assert list(tmp_path.iterdir()) == []
