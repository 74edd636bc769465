from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from reeldex.storage import layout
from reeldex.storage.contents import video_contents
from reeldex.storage.errors import (
    FingerprintError,
    NotAStoreError,
    StoreBusyError,
    StoreDamagedError,
    StoreError,
    UnknownSpaceError,
    UnknownVideoError,
)
from reeldex.storage.growth import plan_growth
from reeldex.storage.process_id import own_process
from reeldex.storage.reading import span_rows
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoEntry, VideoOutcome
from reeldex.storage.shard import RowTiming
from reeldex.storage.similar_names import nearest
from reeldex.storage.store import FeatureStore

MakeRows = Callable[..., FeatureRows]
MakeEntry = Callable[..., VideoEntry]
Act = Callable[..., None]


def test_a_folder_that_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(NotAStoreError, match=r"nowhere is not a feature store: .*reeldex extract SOURCE --store"):
        FeatureStore(tmp_path / "nowhere")
    (tmp_path / "manifest").mkdir()
    with pytest.raises(NotAStoreError, match="lacks the folders features, outcomes"):
        FeatureStore(tmp_path)


def test_create_refuses_a_folder_in_use_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("x")
    with pytest.raises(NotAStoreError, match=r"not empty: it contains photo\.jpg"):
        FeatureStore(tmp_path, create=True)
    with pytest.raises(NotAStoreError, match="is a file"):
        FeatureStore(tmp_path / "photo.jpg", create=True)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_create_finishes_a_store_whose_making_was_killed_and_reopens_one(tmp_path: Path) -> None:
    (tmp_path / "manifest").mkdir()
    FeatureStore(tmp_path, create=True)
    (tmp_path / "notes.txt").write_text("mine")
    FeatureStore(tmp_path, create=True)
    FeatureStore(str(tmp_path))


def test_a_new_store_is_empty(store: FeatureStore) -> None:
    assert (list(store), len(store), store.spaces(), store.manifests()) == ([], 0, [], ())
    assert "a" not in store
    assert store.status().videos_total == 0
    assert store.verify().damages == ()


def test_features_read_back(
    *, store: FeatureStore, grow: Act, fill: Act, make_rows: MakeRows, two_d: FeatureSpace, three_d: FeatureSpace
) -> None:
    ids = ["a", "b/c.mp4", "-d", "é\n'%", "e"]
    grow(*ids, spaces=(two_d, three_d))
    fill(0, (two_d, three_d))
    fill(1, (two_d, three_d))
    assert store.spaces() == ["net2d.v1", "net3d.v1"]
    assert list(store) == store.ids("net3d.v1") == ids
    assert len(store) == 5
    for video_id in ids:
        for space in (two_d, three_d):
            expected = make_rows(f"{video_id} {space.name}")
            assert np.array_equal(store.read(space.name, video_id), expected.rows)
            assert store.rows(space.name, video_id).source == expected.source
    assert store.read("net2d.v1", "a").flags.writeable


@pytest.mark.parametrize(
    ("start", "end", "seconds_per_row", "expected"),
    [
        (0, 0, 1.0, (0, 1)),
        (0, 2.5, 1.0, (0, 3)),
        (2.9, 3.0, 1.0, (2, 4)),
        (0, 4, 16 / 24, (0, 7)),
        (2 / 3, 4 / 3, 16 / 24, (1, 3)),
        (2, 4, 16 / 24, (3, 7)),
        (8, 99, 1.0, (8, 10)),
        (10, 12, 1.0, (10, 10)),
        (99, 99, 1.0, (10, 10)),
        (0.3, 0.9, 0.1, (3, 10)),
    ],
)
def test_spans(
    *,
    store: FeatureStore,
    grow: Act,
    make_rows: MakeRows,
    two_d: FeatureSpace,
    start: float,
    end: float,
    seconds_per_row: float,
    expected: tuple[int, int],
) -> None:
    rows = make_rows("x", row_count=10, seconds_per_row=seconds_per_row)
    grow("x")
    store.staging(0).put(0, VideoOutcome("x", "/videos/x.mp4", "ok", None, "", 1), {two_d: rows})
    store.publish_shard(0, [two_d], provenance={}, seconds_of_work=0)
    assert np.array_equal(store.read_span(two_d.name, "x", start, end), rows.rows[slice(*expected)])


def test_rows_are_mapped_and_outlast_the_reader(store: FeatureStore, grow: Act, fill: Act, make_rows: MakeRows) -> None:
    grow("a", "b/c", "d", videos_per_shard=2)
    fill(0)
    fill(1)
    for video_id in ("a", "b/c", "d"):
        timing, rows = store.map_rows("net2d.v1", video_id)
        assert np.array_equal(rows, make_rows(f"{video_id} net2d.v1").rows)
        assert timing == RowTiming(6, 0.0, 1.0)
        assert not rows.flags.writeable
        assert not rows.flags.owndata
    store.close()
    assert np.array_equal(rows, make_rows("d net2d.v1").rows)
    with pytest.raises(UnknownVideoError, match="has no video 'z'"):
        store.map_rows("net2d.v1", "z")


def test_the_rate_is_exact_where_a_division_is_not() -> None:
    assert int(1 * (1 / (1 / 93))) == 92
    assert span_rows(RowTiming(200, 0.0, 1 / 93), 1, 1) == (93, 94)
    timing = RowTiming(3000, 0.0, 16 / 24)
    for second in range(1998):
        assert span_rows(timing, second, second) == (second * 3 // 2, second * 3 // 2 + 1)


def test_spans_count_from_the_first_row() -> None:
    timing = RowTiming(10, 5.0, 1.0)
    assert span_rows(timing, 0, 4.5) == (0, 0)
    assert span_rows(timing, 4, 6) == (0, 2)
    assert span_rows(timing, 7, 7.5) == (2, 3)


@pytest.mark.parametrize(
    ("start", "end"), [(-1, 2), (3, 2), (float("nan"), 2), (0, float("nan")), (0, float("inf")), (-2, -1)]
)
def test_impossible_spans(store: FeatureStore, grow: Act, fill: Act, start: float, end: float) -> None:
    grow("a")
    fill(0)
    with pytest.raises(ValueError, match="0 <= start <= end"):
        store.read_span("net2d.v1", "a", start, end)


def test_unknown_names_get_the_nearest(store: FeatureStore, grow: Act, fill: Act) -> None:
    grow("cooking-01", "cooking-02")
    fill(0)
    with pytest.raises(UnknownVideoError, match="Did you mean 'cooking-01'") as unknown_video:
        store.read("net2d.v1", "cooking-1")
    assert isinstance(unknown_video.value, KeyError)
    assert not str(unknown_video.value).startswith('"')
    with pytest.raises(UnknownSpaceError, match=r"Did you mean 'net2d\.v1'\? It has: net2d\.v1") as unknown_space:
        store.read("net2.v1", "cooking-01")
    assert isinstance(unknown_space.value, KeyError)
    for call in (store.ids, store.fingerprint):
        with pytest.raises(UnknownSpaceError):
            call("net3d.v1")


def test_failed_and_pending_videos_say_so(store: FeatureStore, grow: Act, fill: Act) -> None:
    grow("a", "b", "c", videos_per_shard=2)
    fill(0, failing={"b": "decode_error"})
    with pytest.raises(UnknownVideoError, match=r"'b' has no features .* failed as decode_error \(decode_error!\)"):
        store.read("net2d.v1", "b")
    with pytest.raises(UnknownVideoError, match="'c' is planned but not extracted"):
        store.read("net2d.v1", "c")
    assert (list(store), "a" in store, "b" in store, "c" in store, 3 in store) == (["a"], True, False, False, False)
    outcome = store.outcome("b")
    assert outcome
    assert outcome.reason == "decode_error"
    assert store.outcome("c") is None
    assert store.outcome("unknown") is None


def test_a_superseded_version_is_never_returned(
    *, store: FeatureStore, grow: Act, fill: Act, make_entry: MakeEntry, make_rows: MakeRows, two_d: FeatureSpace
) -> None:
    grow("a")
    fill(0)
    grow(make_entry("a", size=99))
    with pytest.raises(UnknownVideoError, match="not extracted"):
        store.read(two_d.name, "a")
    assert list(store) == []
    newer = make_rows("newer")
    store.staging(1).put(0, VideoOutcome("a", "/videos/a.mp4", "ok", None, "", 1), {two_d: newer})
    store.publish_shard(1, [two_d], provenance={}, seconds_of_work=0)
    assert np.array_equal(store.read(two_d.name, "a"), newer.rows)
    assert store.status().superseded == 1


def test_another_process_publishing_is_seen(store: FeatureStore, grow: Act, fill: Act) -> None:
    reader = FeatureStore(store.path)
    assert list(reader) == []
    grow("a", "b", videos_per_shard=1)
    assert list(reader) == []
    fill(0)
    assert list(reader) == ["a"]
    fill(1)
    assert list(reader) == ["a", "b"]
    reader.read("net2d.v1", "b")


def test_growth_within_one_tick_of_the_folder_clock_is_seen(store: FeatureStore, grow: Act) -> None:
    folder = store.path / "manifest"
    grow("a")
    tick = time.time_ns()
    os.utime(folder, ns=(tick, tick))
    reader = FeatureStore(store.path)
    assert len(reader.manifests()) == 1
    grow("b")
    os.utime(folder, ns=(tick, tick))
    assert len(reader.manifests()) == 2


def test_a_replaced_shard_file_is_reopened(store: FeatureStore, grow: Act, fill: Act) -> None:
    grow("a", "b")
    fill(0, failing={"b": "timeout"})
    store.read("net2d.v1", "a")
    fill(0, retry=["timeout"])
    assert store.read("net2d.v1", "b").shape == (6, 8)
    store.read("net2d.v1", "a")


def test_reading_from_threads_a_fork_and_a_pickle(store: FeatureStore, grow: Act, fill: Act) -> None:
    ids = [str(at) for at in range(40)]
    grow(*ids, videos_per_shard=2)
    for shard in range(20):
        fill(shard)
    expected = {video_id: store.read("net2d.v1", video_id).tobytes() for video_id in ids}

    def read(video_id: str) -> bool:
        return store.read("net2d.v1", video_id).tobytes() == expected[video_id]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, ids * 5))
    pid = os.fork()
    if pid == 0:
        os._exit(0 if all(map(read, ids)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert all(map(read, ids))
    copy = pickle.loads(pickle.dumps(store))  # noqa: S301
    assert copy.read("net2d.v1", "7").tobytes() == expected["7"]
    store.close()
    assert read("7")


HOLD = """
import sys, time
from reeldex.storage.store import FeatureStore
with FeatureStore(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_lock_names_its_holder_and_dies_with_it(store: FeatureStore) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(store.path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        start = time.monotonic()
        with (
            pytest.raises(StoreBusyError, match=rf"in use by process {holder.pid} on .* since 20.*end it"),
            store.lock(),
        ):
            pass
        with pytest.raises(StoreBusyError), store.lock(wait_seconds=0.3):
            pass
        assert 0.3 <= time.monotonic() - start < 10
    finally:
        holder.kill()
        holder.communicate()
    with store.lock(wait_seconds=5):
        (claim,) = (store.path / "claims").glob("*.json")
        assert json.loads(claim.read_text())["owner"]["process"] == own_process()
        with pytest.raises(StoreBusyError), FeatureStore(store.path).lock():
            pass
    assert list((store.path / "claims").iterdir()) == []
    with store.lock():
        pass


def test_an_error_under_the_lock_frees_it(store: FeatureStore) -> None:
    def fail() -> None:
        with store.lock():
            raise RuntimeError

    for _ in range(2):
        with pytest.raises(RuntimeError):
            fail()


def test_taking_the_lock_sweeps_leftovers(store: FeatureStore, grow: Act, fill: Act) -> None:
    grow("a", "b")
    fill(0, publish=False)
    places = [store.path / name for name in ("manifest", "outcomes", "staging", "staging/shard-00000")]
    for place in places:
        (place / ".publishing-0").write_text("half")
    with store.lock():
        assert not any((place / ".publishing-0").exists() for place in places)
        assert store.shard_state(0, []).staged_positions == (0, 1)


def test_other_settings_are_refused_with_what_differs(
    store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace
) -> None:
    other = FeatureSpace(two_d.name, {"weights": "zz", "fps": 1, "precision": "fp16"})
    grow("a", "b", videos_per_shard=1)
    store.require_fingerprint(other)
    fill(0, publish=False)
    expected = r'weights: the store has "aa", this run has "zz"\n.*same settings.*--store'
    with pytest.raises(
        FingerprintError, match=r"(?s)staging.*precision: the store has null, this run has \"fp16\"\n  " + expected
    ):
        store.require_fingerprint(other)
    store.require_fingerprint(two_d)
    fill(0)
    assert store.fingerprint(two_d.name) == two_d.fingerprint
    with pytest.raises(FingerprintError, match="(?s)" + expected):
        store.require_fingerprint(other)
    with pytest.raises(FingerprintError, match="(?s)" + expected):
        store.publish_shard(1, [other], provenance={}, seconds_of_work=0)
    store.require_fingerprint(two_d)


def test_a_shard_that_does_not_exist(store: FeatureStore, grow: Act) -> None:
    grow("a")
    with pytest.raises(ValueError, match="no shard 1; it has 1 shard, numbered from 0"):
        store.shard_state(1, [])


def test_a_shard_is_added_once(store: FeatureStore, grow: Act) -> None:
    grow("a")
    with pytest.raises(StoreError, match="manifests are immutable"):
        store.add_shards(store.manifests())


def test_reading_damaged_rows_is_an_error(store: FeatureStore, grow: Act, fill: Act, make_rows: MakeRows) -> None:
    grow("a", "b")
    fill(0)
    path = store.path / "features/net2d.v1/shard-00000.h5"
    content = bytearray(path.read_bytes())
    content[content.index(make_rows("a net2d.v1").rows.tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreDamagedError, match=r"shard-00000.h5.*reeldex rerun"):
        store.read("net2d.v1", "a")
    store.read("net2d.v1", "b")


def test_status_counts(
    *, store: FeatureStore, grow: Act, fill: Act, make_entry: MakeEntry, make_rows: MakeRows, two_d: FeatureSpace
) -> None:
    grow("a", "b", make_entry("a", path="/other.mp4"), "c", "d", "e", videos_per_shard=4)
    fill(0, failing={"b": "missing"})
    staging = store.staging(1)
    staging.put(
        0,
        VideoOutcome("d", "/videos/d.mp4", "ok", "truncated", "short", 1, truncated=True, notes=("video_track",)),
        {two_d: make_rows()},
    )
    before = store.status()
    assert (before.shards_total, before.shards_done, before.shards_unfinished) == (2, 1, 1)
    assert (before.videos_total, before.ok, before.failed, before.pending, before.staged) == (6, 2, 2, 2, 1)
    fill(1)
    after = store.status()
    assert (after.shards_done, after.ok, after.truncated, after.pending, after.staged) == (2, 4, 1, 0, 0)
    assert after.noted == {"video_track": 1}
    assert after.failed_by_reason == {"missing": 1, "duplicate_id": 1}
    assert after.rows_per_space == {two_d.name: 24}
    assert after.bytes_per_space == {
        two_d.name: sum(path.stat().st_size for path in (store.path / "features").rglob("*.h5"))
    }
    # No duration is recorded of one of them: its 6 rows cover 6 s.
    assert after.seconds_of_video_ok == 24
    assert after.seconds_of_work == 3.0
    assert json.loads(json.dumps(after.to_json()))["failed"] == 2
    (store.path / "features/net2d.v1/shard-00000.h5").unlink()
    assert store.status().shards_done == 1


def test_the_package_itself_is_light() -> None:
    code = "import reeldex.storage, sys; assert not {'h5py', 'numpy', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import reeldex.storage.store, reeldex.storage.npy_import, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_store_whose_feature_files_are_gone_says_so(store: FeatureStore, grow: Act, fill: Act) -> None:
    grow("a", "b")
    fill(0)
    layout.features_file(store.path, "net2d.v1", 0).unlink()
    for use in (lambda: store.read("net2d.v1", "a"), lambda: video_contents(store, "a")):
        with pytest.raises(StoreDamagedError, match=r"shard-00000\.h5 is missing\. `reeldex rerun` extracts it again"):
            use()
    with pytest.raises(StoreDamagedError, match=r"All files of the feature space net2d\.v1 .* are missing or damaged"):
        store.fingerprint("net2d.v1")
    with pytest.raises(UnknownSpaceError):
        store.fingerprint("net3d.v1")


def test_a_misspelled_id_among_very_many_is_not_looked_for() -> None:
    names = [f"video {number}" for number in range(60_000)]
    assert nearest("video 59x", names) == ""
    assert "'video 59'" in nearest("video 59x", names[:100])


def test_an_open_store_answers_for_the_one_that_took_its_place(
    store: FeatureStore, grow: Act, fill: Act, make_entry: MakeEntry, tmp_path: Path
) -> None:
    grow("a", "b", "c", videos_per_shard=2)
    fill(0)
    reader = FeatureStore(store.path)
    assert reader.video_count() == len(reader.manifests()) + 1 == 3
    assert reader.outcome("a") is not None
    other = FeatureStore(tmp_path / "other", create=True)
    found = [make_entry(video_id) for video_id in "wxyz"]
    planned = plan_growth((), found, videos_per_shard=2, spaces=["net2d.v1"], exists=lambda _: True)
    other.add_shards(planned.new_shards)
    store.path.rename(tmp_path / "before")
    other.path.rename(store.path)
    assert reader.video_count() == 4
    assert [entry.video_id for each in reader.manifests() for entry in each.videos] == list("wxyz")
    assert [each.shard for each in reader.manifests_with(["y"])] == [1]
    assert reader.outcome("a") is None
