"""Features are removed for good: the rest of the store stays as it was, and reruns do not make them again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reeldex.flows.extraction.plan import unfinished
from reeldex.storage import removal
from reeldex.storage.errors import StoreError, UnknownSpaceError, UnknownVideoError
from reeldex.storage.npy_export import export_npy
from reeldex.storage.npy_import import import_npy
from reeldex.storage.removal import remove_space, remove_videos
from reeldex.storage.schema import FeatureSpace, VideoEntry
from reeldex.storage.store import FeatureStore

Act = Callable[..., None]
IDS = ["a", "b/c.mp4", "d", "e", "f"]


@pytest.fixture
def filled(store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace) -> FeatureStore:
    grow(*IDS, videos_per_shard=3, spaces=(two_d, three_d))
    fill(0, (two_d, three_d), failing={"d": "timeout"})
    fill(1, (two_d, three_d))
    return store


def everything(store: FeatureStore) -> dict[tuple[str, str], bytes]:
    return {(space, each): store.read(space, each).tobytes() for space in store.spaces() for each in store.ids(space)}


def test_a_video_is_gone_and_the_others_stay(filled: FeatureStore) -> None:
    before = everything(filled)
    size = sum(path.stat().st_size for path in (filled.path / "features").rglob("*.h5"))
    planned = remove_videos(filled, ["b/c.mp4"], dry_run=True)
    assert everything(filled) == before
    assert (planned.videos, planned.rows, planned.size_bytes) == (1, 12, 12 * 8 * 2)
    with filled.lock():
        removed = remove_videos(filled, ["b/c.mp4"])
    assert (removed.videos, removed.rows) == (1, 12)
    assert size - removed.size_bytes == sum(path.stat().st_size for path in (filled.path / "features").rglob("*.h5"))
    assert everything(filled) == {key: rows for key, rows in before.items() if key[1] != "b/c.mp4"}
    assert [video.video_id for video in filled.videos()] == ["a", "d", "e", "f"]
    assert filled.verify().sound
    status = filled.status()
    assert (status.ok, status.failed, status.shards_done) == (3, 1, 2)
    assert unfinished(filled, retry=["missing"]) == []
    with pytest.raises(UnknownVideoError, match=r"no video 'b/c\.mp4'"):
        filled.read("net2d.v1", "b/c.mp4")
    assert everything(FeatureStore(filled.path)) == everything(filled)


def test_all_videos_of_a_shard(filled: FeatureStore) -> None:
    remove_videos(filled, ["e", "f"])
    assert not list(filled.path.glob("features/*/shard-00001.h5"))
    assert filled.verify().sound
    assert (filled.status().shards_done, unfinished(filled)) == (2, [])
    assert filled.spaces() == ["net2d.v1", "net3d.v1"]


def test_a_removed_video_can_be_found_again(filled: FeatureStore, grow: Act, tmp_path: Path) -> None:
    export_npy(filled, tmp_path / "npy")
    before = everything(filled)
    remove_videos(filled, IDS[:2])
    report = import_npy(tmp_path / "npy", filled, seconds_per_row={}, videos_per_shard=3)
    assert (report.imported, report.already_there) == (2, 2)
    assert everything(filled) == before
    assert filled.verify().sound


def test_earlier_versions_are_removed_too(filled: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace) -> None:
    grow(VideoEntry("a", "/videos/a.mp4", 99, 20))
    fill(2)
    removed = remove_videos(filled, ["/videos/a.mp4"])
    assert (removed.videos, removed.rows) == (2, 18)
    assert "a" not in filled
    assert filled.verify().sound


def test_failed_and_forgotten_videos_and_unknown_ones(filled: FeatureStore) -> None:
    assert remove_videos(filled, ["d"]).videos == 0
    assert filled.status().failed == 0
    filled.forget(["e"])
    assert (filled.path / "features/net2d.v1/shard-00001.h5").stat().st_size
    assert remove_videos(filled, ["e"]).rows == 12
    before = everything(filled)
    with pytest.raises(UnknownVideoError, match="no video with the id or path 'nothing'"):
        remove_videos(filled, ["a", "nothing"])
    assert everything(filled) == before


@pytest.mark.parametrize("step", ["write_shard", "write_outcomes"])
def test_a_killed_removal_is_finished_by_the_same(
    filled: FeatureStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = everything(filled)
    real, calls = getattr(removal, step), []

    def dying(*arguments: object, **named: object) -> object:
        calls.append(arguments)
        if len(calls) == 2 or step == "write_outcomes":
            raise KeyboardInterrupt
        return real(*arguments, **named)

    monkeypatch.setattr(removal, step, dying)
    with pytest.raises(KeyboardInterrupt):
        remove_videos(filled, ["a"])
    monkeypatch.undo()
    again = FeatureStore(filled.path)
    assert "a" not in again
    remove_videos(again, ["a"])
    assert everything(again) == {key: rows for key, rows in before.items() if key[1] != "a"}
    assert again.verify().sound


def test_a_space_is_gone_until_it_is_extracted_again(
    *, filled: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace
) -> None:
    before = everything(filled)
    size = sum(path.stat().st_size for path in (filled.path / "features/net3d.v1").iterdir())
    assert remove_space(filled, "net3d.v1", dry_run=True).size_bytes == size
    removed = remove_space(filled, "net3d.v1")
    assert (removed.videos, removed.rows, removed.size_bytes) == (4, 24, size)
    assert filled.spaces() == ["net2d.v1"]
    assert everything(filled) == {key: rows for key, rows in before.items() if key[0] == "net2d.v1"}
    assert filled.verify().sound
    assert (filled.status().shards_done, unfinished(filled)) == (2, [])
    with pytest.raises(UnknownSpaceError):
        remove_space(filled, "net3d.v1")
    # New videos still get it, and extracting the old ones in it again brings it back.
    grow("g", spaces=(two_d, three_d))
    fill(2, (two_d, three_d))
    assert filled.ids("net3d.v1") == ["g"]
    fill(0, (three_d,))
    assert filled.read("net3d.v1", "a").tobytes() == before["net3d.v1", "a"]
    assert unfinished(filled) == []
    (filled.path / "features/net3d.v1/shard-00000.h5").unlink()
    assert [task.shard for task in unfinished(filled)] == [0]


def test_a_killed_removal_of_a_space(filled: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def dying(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(removal, "write_outcomes", dying)
    with pytest.raises(KeyboardInterrupt):
        remove_space(filled, "net3d.v1")
    monkeypatch.undo()
    remove_space(filled, "net3d.v1")
    assert filled.spaces() == ["net2d.v1"]
    assert filled.verify().sound
    # Killed after the outcomes were written: files are left that they do not name.
    path = filled.path / "features/net3d.v1/shard-00000.h5"
    path.write_bytes(b"left")
    assert not filled.verify().sound
    remove_space(filled, "net3d.v1")
    assert not path.exists()


def test_no_video_is_left_without_features(filled: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace) -> None:
    grow("only 2d", spaces=(two_d,))
    fill(2, (two_d,))
    with pytest.raises(StoreError, match=r"net2d\.v1 is the only feature space of 'only 2d'"):
        remove_space(filled, "net2d.v1")
    with pytest.raises(UnknownSpaceError, match=r"Did you mean 'net2d\.v1'"):
        remove_space(filled, "net2.v1")
    assert len(filled.ids("net2d.v1")) == 5
    assert np.isfinite(filled.read("net2d.v1", "a")).all()


def test_a_reader_that_is_open_sees_what_is_left(filled: FeatureStore) -> None:
    reader = FeatureStore(filled.path)
    rows = reader.read("net2d.v1", "f")
    _, mapped = reader.map_rows("net2d.v1", "f")
    remove_videos(filled, ["e"])
    assert np.array_equal(reader.read("net2d.v1", "f"), rows)
    assert np.array_equal(mapped, rows)
    with pytest.raises(UnknownVideoError):
        reader.read("net2d.v1", "e")


def test_videos_of_an_unfinished_shard(store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace) -> None:
    """One of them is extracted and waits, the other is not; neither is in the finished shard."""
    grow("a", "b", "c")
    fill(0, publish=False)
    (store.path / "staging/shard-00000/00002.h5").unlink()
    with store.lock():
        removed = remove_videos(store, ["b", "c"])
    assert (removed.videos, removed.rows) == (1, 6)
    assert removed.size_bytes > 6 * 8 * 2
    assert store.pending_positions(0, [two_d], retry=["missing"]) == ()
    fill(0)
    outcomes = store.outcomes(0)
    assert outcomes
    assert [(each.status, dict(each.rows)) for each in outcomes.videos] == [
        ("ok", {"net2d.v1": 6}),
        ("failed", {}),
        ("failed", {}),
    ]
    assert "forgotten" in outcomes.videos[2].message
    assert (store.ids(), store.verify().sound, unfinished(store, retry=["missing"])) == (["a"], True, [])


def test_an_unfinished_shard_is_completed_without_a_removed_space(
    store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace
) -> None:
    grow("a", "b", videos_per_shard=1, spaces=(two_d, three_d))
    fill(0, (two_d, three_d))
    with store.lock():
        remove_space(store, three_d.name)
    assert [(task.shard, task.spaces) for task in unfinished(store)] == [(1, (two_d.name,))]
    fill(1, (two_d,))
    assert (store.spaces(), store.status().shards_done) == ([two_d.name], 2)


def test_the_only_space_of_an_unfinished_shard_stays(
    store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, three_d: FeatureSpace
) -> None:
    grow("a", spaces=(two_d, three_d))
    grow("b", spaces=(three_d,))
    fill(0, (two_d, three_d))
    with pytest.raises(StoreError, match="only feature space of 'b'"):
        remove_space(store, three_d.name)
    assert store.spaces() == [two_d.name, three_d.name]
