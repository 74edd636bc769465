"""Stores in an object store: the real client against a server of S3 on this machine."""

from __future__ import annotations

import dataclasses
import gc
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from reeldex.errors import UsageError
from reeldex.remote_faults import RemoteError
from reeldex.storage import remote_listings
from reeldex.storage.claims import claim_shard
from reeldex.storage.errors import ClaimHeldError, NotAStoreError, RemoteStoreError, StoreError, StoreUnreadableError
from reeldex.storage.growth import plan_growth
from reeldex.storage.npy_export import export_npy
from reeldex.storage.npy_import import import_npy
from reeldex.storage.remote_listings import forget
from reeldex.storage.remote_path import RemotePath, local_side
from reeldex.storage.remote_ranges import HEAD_BYTES, RangeReader
from reeldex.storage.removal import remove_videos
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoEntry, VideoOutcome
from reeldex.storage.shard import ShardReader
from reeldex.storage.store import FeatureStore
from reeldex.storage.write_errors import UnwritableError
from tests.object_store import KEY, SECRET, Fault, ObjectStore, Request, client
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

SPACE = FeatureSpace("net2d.v1", {"weights": "aa", "fps": 1})
URL = "s3://lab/some/store"
Publish = Callable[..., FeatureStore]


def features(video: int, row_count: int = 40, width: int = 512) -> FeatureRows:
    rows = np.random.default_rng(video).normal(size=(row_count, width)).astype(np.float16)
    return FeatureRows(rows, 0.0, 1.0, float(row_count), truncated=False, source="ffmpeg")


def plan(store: FeatureStore, videos: range, per_shard: int = 4) -> None:
    found = [VideoEntry(f"v{at}", f"/videos/v{at}.mp4", 10, 20) for at in videos]
    growth = plan_growth(
        store.manifests(), found, videos_per_shard=per_shard, spaces=[SPACE.name], exists=lambda _: True
    )
    store.add_shards(growth.new_shards)


def stage(store: FeatureStore, shard: int, **sizes: int) -> None:
    for position, entry in enumerate(store.manifests()[shard].videos):
        outcome = VideoOutcome(entry.video_id, entry.path, "ok", None, "", 1, duration_seconds=40.0)
        store.staging(shard).put(position, outcome, {SPACE: features(int(entry.video_id[1:]), **sizes)})


def publish(store: FeatureStore, shard: int) -> None:
    store.publish_shard(shard, [SPACE], provenance={"host": "h"}, seconds_of_work=1.0)


def filled(url: str | Path, videos: int = 8) -> FeatureStore:
    store = FeatureStore(url, create=True)
    with store.lock():
        plan(store, range(videos))
        for shard in range(len(store.manifests())):
            stage(store, shard)
            publish(store, shard)
    return store


def keys(s3: ObjectStore) -> list[str]:
    return [each["Key"] for each in client(s3).list_objects_v2(Bucket="lab").get("Contents", [])]


def content_of(s3: ObjectStore, key: str) -> bytes:
    found: bytes = client(s3).get_object(Bucket="lab", Key=key)["Body"].read()
    return found


def test_a_store_holds_what_one_on_a_disk_does(s3: ObjectStore, tmp_path: Path) -> None:
    there, here = filled(URL), filled(tmp_path / "store")
    assert str(there.path) == URL
    assert there.status() == here.status()
    assert there.ids() == here.ids() == [f"v{at}" for at in range(8)]
    for video_id in here.ids():
        np.testing.assert_array_equal(there.read(SPACE.name, video_id), here.read(SPACE.name, video_id))
        span = (SPACE.name, video_id, 3.0, 7.5)
        np.testing.assert_array_equal(there.read_span(*span), here.read_span(*span))
        assert there.rows_sha256(SPACE.name, video_id) == here.rows_sha256(SPACE.name, video_id)
        np.testing.assert_array_equal(there.map_rows(SPACE.name, video_id)[1], here.read(SPACE.name, video_id))
    asked, spans = there.ids()[::-1], [(1.0, 2.0)] * 8
    pairs = zip(there.read_many(SPACE.name, asked, spans), here.read_many(SPACE.name, asked, spans), strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(one, other)
    report = there.verify()
    assert report.sound
    assert report.checked_videos == 8
    outcomes = there.outcomes(1), here.outcomes(1)
    assert outcomes[0] is not None
    assert outcomes[1] is not None
    records = [each.files[SPACE.name] for each in outcomes if each]
    assert records[0].name == records[1].name == "features/net2d.v1/shard-00001.h5"
    assert records[0].extents == records[1].extents
    # Nothing but what a store on a disk has, and the marks of its folders; a file is readable with plain h5py.
    names = {path.relative_to(here.path).as_posix() for path in here.path.rglob("*") if path.is_file()}
    found = {each.removeprefix("some/store/") for each in keys(s3)}
    assert {each for each in found if not each.endswith(".folder")} == {each for each in names if each[0] != "."}
    file = tmp_path / "copy.h5"
    file.write_bytes(content_of(s3, "some/store/features/net2d.v1/shard-00001.h5"))
    with h5py.File(file) as opened:
        np.testing.assert_array_equal(opened["features/v5"][:], features(5).rows)


def test_a_span_is_fetched_by_ranges(s3: ObjectStore) -> None:
    store = FeatureStore(URL, create=True)
    plan(store, range(100), per_shard=100)
    # 20 MB of features.
    stage(store, 0, row_count=200)
    publish(store, 0)
    store = FeatureStore(URL)
    assert store.entry("v0") is not None
    assert store.outcomes(0) is not None
    s3.requests.clear()
    collecting: list[bool] = []

    def note(request: Request) -> bool:
        if request.range:
            collecting.append(gc.isenabled())
        return False

    s3.fail(Fault(meant=note))
    np.testing.assert_array_equal(store.read_span(SPACE.name, "v57", 100.0, 119.0), features(57, 200).rows[100:120])
    ranges = [each.bytes_asked for each in s3.asked("GET", "shard-00000.h5")]
    assert ranges == [HEAD_BYTES, 20 * 512 * 2]
    assert collecting == [False, True], "garbage is not collected while HDF5 waits, and is while rows are fetched"
    s3.requests.clear()
    store.read_span(SPACE.name, "v91", 10.0, 10.0)
    assert [each.bytes_asked for each in s3.asked("GET", ".h5")] == [512 * 2]


_READING_WITH_GARBAGE = """
import gc, sys
import fsspec.asyn, h5py
from reeldex.storage.remote_ranges import RangeReader
from reeldex.storage.store import FeatureStore

fetch = RangeReader._fetched
litter = h5py.File("litter", "w", driver="core", backing_store=False).create_group("a")

def fetch_with_garbage(reader, offset, count):
    gc.set_threshold(100_000)
    cycle = [litter["/a"]]
    cycle.append(cycle)
    del cycle
    # The next object that the client's thread makes has its garbage collected, in that thread.
    fsspec.asyn.get_loop().call_soon_threadsafe(gc.set_threshold, 1)
    return fetch(reader, offset, count)

RangeReader._fetched = fetch_with_garbage
for _ in range(20):
    store = FeatureStore(sys.argv[1])
    assert store.read("net2d.v1", "v1").shape == (40, 512)
    store.close()
assert gc.isenabled()
"""


def test_garbage_of_hdf5_collected_in_the_thread_of_the_client_stops_no_reading(s3: ObjectStore) -> None:
    filled(URL, videos=4)
    done = subprocess.run(
        [sys.executable, "-c", _READING_WITH_GARBAGE, URL], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


_FORK_WHILE_READING = """
import os, sys
from reeldex.storage.remote_ranges import RangeReader
from reeldex.storage.store import FeatureStore
import asyncio, threading, time
import fsspec.asyn

fetch, reading = RangeReader._fetched, threading.Event()

async def resolve_a_name():
    await asyncio.get_running_loop().run_in_executor(None, time.time)

def fetch_slowly(reader, offset, count):
    reading.set()
    time.sleep(0.5)
    fsspec.asyn.sync(fsspec.asyn.get_loop(), resolve_a_name)
    return fetch(reader, offset, count)

one, other = FeatureStore(sys.argv[1]), FeatureStore(sys.argv[1])
fsspec.asyn.sync(fsspec.asyn.get_loop(), resolve_a_name)
RangeReader._fetched = fetch_slowly
thread = threading.Thread(target=one.read, args=("net2d.v1", "v1"))
thread.start()
reading.wait()
child = os.fork()
if not child:
    RangeReader._fetched = fetch
    os._exit(len(other.read("net2d.v1", "v2")))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 40
thread.join()
"""


def test_a_fork_while_a_thread_reads_stops_neither_process(s3: ObjectStore) -> None:
    """The client resolves names of hosts in a thread of concurrent.futures, which takes part in forks."""
    filled(URL, videos=4)
    done = subprocess.run(
        [sys.executable, "-c", _FORK_WHILE_READING, URL], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_store_of_an_older_release_is_read_too(s3: ObjectStore, tmp_path: Path) -> None:
    """Its files have their metadata between the rows; it was copied there, so that no folder is marked."""
    here = filled(tmp_path / "store")
    for path in sorted(here.path.rglob("*")):
        if path.is_file() and path.name[0] != ".":
            client(s3).put_object(Bucket="lab", Key=path.relative_to(tmp_path).as_posix(), Body=path.read_bytes())
    there = FeatureStore("s3://lab/store")
    assert there.status() == here.status()
    np.testing.assert_array_equal(there.read_span(SPACE.name, "v6", 5, 6), features(6).rows[5:7])
    assert there.verify().sound


def test_status_lists_instead_of_asking_for_each_file(s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(URL, videos=48)
    # What is listed and fetched counts for seconds, which a busy machine may need for a few requests.
    monkeypatch.setattr(remote_listings, "FRESH_SECONDS", 600.0)
    s3.requests.clear()
    assert FeatureStore(URL).status().shards_done == 12
    # 12 manifests and 12 outcomes are read, and nothing of features.
    assert len(s3.asked("GET", "/shard-")) == 24
    assert len(s3.requests) < 24 + 35


def test_documents_that_are_read_in_order_are_fetched_together(s3: ObjectStore) -> None:
    before = filled(URL, videos=48).status()
    s3.requests.clear()
    s3.most_at_once = 0
    s3.fail(Fault(seconds=0.3, meant=lambda request: "/shard-" in request.path and request.method == "GET"))
    assert FeatureStore(URL).status() == before
    assert s3.most_at_once >= 6
    # An answer of the folder's content counts for two seconds, and what was fetched with it.
    assert len(s3.asked("GET", "/shard-")) <= 24 + 8
    s3.heal()
    # Another version than the one that was fetched ahead is not taken.
    store = FeatureStore(URL)
    paths = [store.path / "manifest" / f"shard-{at:05d}.json" for at in range(12)]
    listed = [path.name for path in sorted((store.path / "manifest").iterdir())]
    assert listed == [path.name for path in paths]
    assert all(path.read_bytes() for path in paths[:3])
    client(s3).put_object(Bucket="lab", Key="some/store/manifest/shard-00005.json", Body=b"new")
    forget()
    assert [path.name for path in sorted((store.path / "manifest").iterdir())] == listed
    assert paths[5].read_bytes() == b"new"


@pytest.mark.parametrize(
    ("fault", "times"),
    [(Fault(503, "SlowDown"), 8), (Fault(500, "InternalError"), 4), (Fault(503, "ServiceUnavailable"), 4)],
)
def test_a_service_that_fails_for_a_moment_costs_time_only(s3: ObjectStore, fault: Fault, times: int) -> None:
    s3.fail(fault, times)
    assert filled(URL, videos=4).status().ok == 4
    s3.fail(fault, times)
    assert FeatureStore(URL).verify().sound
    assert [entry[1] for entry in s3.faults] == [0, 0]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(503, "SlowDown"), "the service asks for fewer requests"),
        (Fault(403, "AccessDenied"), "access is denied"),
        (Fault(403, "InvalidAccessKeyId"), "the credentials were refused"),
        (Fault(500, "InternalError"), "the service failed"),
    ],
)
def test_a_service_that_keeps_failing_is_named(s3: ObjectStore, fault: Fault, words: str) -> None:
    store = filled(URL, videos=4)
    s3.fail(Fault(fault.status, fault.code, meant=lambda request: "/features/" in request.path and request.range != ""))
    with pytest.raises(StoreUnreadableError, match=rf"{words}.*It is not known to be damaged") as unreadable:
        FeatureStore(URL).read(SPACE.name, "v1")
    assert f"{URL}/features/net2d.v1/shard-00000.h5" in str(unreadable.value)
    report = store.verify()
    assert not report.damages
    assert words in report.unreadable[0].why
    s3.heal()
    s3.fail(Fault(fault.status, fault.code, meant=lambda request: request.method in ("PUT", "POST")))
    with pytest.raises((UnwritableError, RemoteError), match=words) as unwritable:
        plan(store, range(4, 8))
    assert isinstance(unwritable.value, UnwritableError) == (fault.status == 403)
    assert SECRET not in str(unwritable.value)


def test_a_place_that_is_absent_or_closed_is_named(s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotAStoreError, match=r"s3://lab/no/store is not a feature store: no such directory"):
        FeatureStore("s3://lab/no/store")
    with pytest.raises(StoreUnreadableError, match=r"the bucket or container 'nobody' does not exist\. Create it"):
        FeatureStore("s3://nobody/store")
    with pytest.raises(StoreError, match="the bucket or container 'nobody' does not exist"):
        FeatureStore("s3://nobody/store", create=True)
    with pytest.raises(RemoteStoreError, match="the web has no folders"):
        FeatureStore("https://host/store")
    with pytest.raises(UsageError, match="carries credentials"):
        FeatureStore("s3://key:secret@lab/store")


def test_a_store_needs_an_empty_prefix(s3: ObjectStore) -> None:
    client(s3).put_object(Bucket="lab", Key="thesis/chapter.tex", Body=b"x")
    with pytest.raises(NotAStoreError, match=r"not empty: it contains chapter\.tex"):
        FeatureStore("s3://lab/thesis", create=True)
    assert keys(s3) == ["thesis/chapter.tex"]


_ABSENT = """
import os, sys
from reeldex import remote_faults
remote_faults.FIRST_WAIT_SECONDS = 0.01
from reeldex.storage.store import FeatureStore
try:
    FeatureStore(sys.argv[1])
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            "no credentials were found. Set AWS_ACCESS_KEY_ID",
        ),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "the service cannot be reached. Check the network"),
    ],
)
def test_a_wrong_environment_is_named(s3: ObjectStore, changed: dict[str, str | None], words: str) -> None:
    environment = {**os.environ, "HOME": "/nonexistent", **{name: text for name, text in changed.items() if text}}
    for name in [name for name, text in changed.items() if text is None]:
        del environment[name]
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _ABSENT, URL], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"StoreUnreadableError {URL} cannot be read: {words}"), done.stdout + done.stderr
    assert time.monotonic() - start < 90


_UPLOADING = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.storage.test_object_storage import URL, FeatureStore, publish
publish(FeatureStore(URL), 0)
"""


@pytest.mark.parametrize("large", [False, True])
def test_a_kill_during_an_upload_leaves_nothing_that_counts(
    s3: ObjectStore,
    tmp_path: Path,
    large: bool,  # noqa: FBT001
) -> None:
    store = FeatureStore(URL, create=True)
    plan(store, range(2))
    # In one piece, or in parts of 50 MB.
    stage(store, 0, row_count=60_000 if large else 40)
    slow = Fault(
        500,
        "InternalError",
        seconds=30.0,
        meant=lambda request: request.method == "PUT" and "/features/net2d" in request.path,
    )
    s3.fail(slow)
    root = str(Path(__file__).parents[2])
    child = subprocess.Popen([sys.executable, "-c", _UPLOADING, root])
    try:
        wait_until(lambda: s3.asked("PUT", "/features/net2d"), 60, process=child)
        assert s3.asked("PUT", "partNumber=") or not large
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    s3.heal()
    assert s3.asked("PUT", "/features/net2d")
    assert not [each for each in keys(s3) if "/features/net2d" in each or "/outcomes/shard" in each]
    store = FeatureStore(URL)
    assert store.status().staged == 2
    assert store.verify().sound
    drafts = tmp_path / "user cache" / "reeldex" / "stores" / "drafts"
    assert len(list(drafts.iterdir())) == 1
    with store.lock():
        assert list(drafts.iterdir()) == []
        publish(store, 0)
    assert store.verify().sound
    assert store.status().ok == 2
    assert store.status().staged == 0


def test_damage_is_found_and_extracted_again(s3: ObjectStore) -> None:
    store = filled(URL)
    file = "some/store/features/net2d.v1/shard-00001.h5"
    content = bytearray(content_of(s3, file))
    with store._open_shards.reader(store.feature_file(SPACE.name, "v6")) as reader:
        content[reader.extents()["v6"].offset_bytes + 7] ^= 1
    client(s3).put_object(Bucket="lab", Key=file, Body=bytes(content))
    client(s3).put_object(Bucket="lab", Key="some/store/manifest/notes.txt", Body=b"x")
    store = FeatureStore(URL)
    report = store.verify()
    assert {(each.file, each.video_id) for each in report.damages} == {
        ("features/net2d.v1/shard-00001.h5", "v6"),
        ("manifest/notes.txt", None),
    }
    store.record_damage(report)
    assert store.status().damaged == ("features/net2d.v1/shard-00001.h5",)
    assert store.pending_positions(1, [SPACE]) == (0, 1, 2, 3)
    client(s3).delete_object(Bucket="lab", Key=file)
    stage(store, 1)
    publish(store, 1)
    client(s3).delete_object(Bucket="lab", Key="some/store/manifest/notes.txt")
    assert FeatureStore(URL).verify().sound
    assert FeatureStore(URL).status().damaged == ()


def test_manifests_are_never_replaced(s3: ObjectStore) -> None:
    one, other = FeatureStore(URL, create=True), FeatureStore(URL)
    assert one.manifests() == other.manifests() == ()
    plan(one, range(4))
    before = content_of(s3, "some/store/manifest/shard-00000.json")
    growth = plan_growth(
        (), [VideoEntry("z", "/z", 1, 1)], videos_per_shard=4, spaces=[SPACE.name], exists=lambda _: True
    )
    with pytest.raises(StoreError, match="already exists, and manifests are immutable"):
        other.add_shards(growth.new_shards)
    assert content_of(s3, "some/store/manifest/shard-00000.json") == before


def test_a_lost_answer_to_a_creation_is_not_taken_for_a_rival(s3: ObjectStore) -> None:
    path = FeatureStore(URL, create=True).path / "manifest" / "note.json"
    assert isinstance(path, RemotePath)
    # The file was written, the answer was an error.
    client(s3).put_object(Bucket="lab", Key="some/store/manifest/note.json", Body=b"mine")
    s3.fail(Fault(500, "InternalError", meant=lambda request: request.method == "PUT"), times=1)
    assert path.create(b"mine")
    s3.fail(Fault(500, "InternalError", meant=lambda request: request.method == "PUT"), times=1)
    assert not path.create(b"other")
    assert not path.create(b"mine")


def test_records_videos_and_spaces_are_removed(s3: ObjectStore) -> None:
    store = filled(URL)
    with store.lock():
        remove_videos(store, ["v2"])
        store.forget(["v3"])
    store = FeatureStore(URL)
    assert store.ids() == [f"v{at}" for at in (0, 1, 4, 5, 6, 7)]
    assert store.verify().sound
    np.testing.assert_array_equal(store.read(SPACE.name, "v1"), features(1).rows)


def test_a_damaged_record_is_set_aside(s3: ObjectStore) -> None:
    store = filled(URL, videos=4)
    with store.lock():
        store.forget(["v3"])
    client(s3).put_object(Bucket="lab", Key="some/store/forgotten.json", Body=b"{}")
    store = FeatureStore(URL)
    with store.lock():
        (sentence,) = store.set_aside_records()
    assert "forgotten videos count again" in sentence
    assert content_of(s3, "some/store/forgotten.json.damaged") == b"{}"
    assert "some/store/forgotten.json" not in keys(s3)
    assert FeatureStore(URL).status().ok == 4


def test_npy_files_are_exchanged(s3: ObjectStore, tmp_path: Path) -> None:
    report = export_npy(filled(URL), tmp_path / "npy")
    assert report.written == 8
    imported = FeatureStore("s3://lab/imported", create=True)
    with imported.lock():
        import_npy(tmp_path / "npy", imported, seconds_per_row={})
    np.testing.assert_array_equal(FeatureStore("s3://lab/imported").read(SPACE.name, "v3"), features(3).rows)
    assert imported.verify().sound


def test_what_another_process_publishes_is_seen(s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = filled(URL, videos=4)
    filled("s3://lab/other", videos=8)
    for name in ("manifest/shard-00001.json", "outcomes/shard-00001.json", "features/net2d.v1/shard-00001.h5"):
        client(s3).copy_object(Bucket="lab", Key=f"some/store/{name}", CopySource=f"lab/other/{name}")
    # An answer counts for two seconds.
    monkeypatch.setattr("reeldex.storage.remote_listings.FRESH_SECONDS", 0.0)
    np.testing.assert_array_equal(reading.read(SPACE.name, "v7"), features(7).rows)


def test_who_plans_or_claims_a_shard_sees_what_others_have_just_written(
    s3: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reeldex.storage.remote_listings.FRESH_SECONDS", 600.0)
    store = filled(URL, videos=4)
    filled("s3://lab/other", videos=8)

    def publish_elsewhere(folder: str) -> None:
        name = f"{folder}/shard-00001.{'h5' if folder.startswith('features') else 'json'}"
        client(s3).copy_object(Bucket="lab", Key=f"some/store/{name}", CopySource=f"lab/other/{name}")

    assert store.status().shards_total == 1
    publish_elsewhere("manifest")
    with store.join(share=True) as run, run.planning():
        assert store.status().shards_done == store.shard_count() - 1 == 1
    publish_elsewhere("features/net2d.v1")
    publish_elsewhere("outcomes")
    with store.claim(1):
        assert store.shard_state(1, [SPACE]).done


def _read_in_child(store: FeatureStore, queue: multiprocessing.Queue[bytes]) -> None:
    queue.put(store.read(SPACE.name, "v1").tobytes())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_process_reads(s3: ObjectStore, method: str) -> None:
    store = filled(URL, videos=4)
    store.read(SPACE.name, "v1")
    context: Any = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_read_in_child, args=(store, queue))
    child.start()
    assert queue.get(timeout=60) == features(1).rows.tobytes()
    child.join(60)
    assert child.exitcode == 0
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).read(SPACE.name, "v1"), features(1).rows)  # noqa: S301


def test_a_verification_ends_when_the_service_does_and_goes_on_past_single_files(s3: ObjectStore) -> None:
    store = filled(URL, videos=48)
    odd = [f"shard-0000{shard}.h5" for shard in (1, 3, 5, 7)]
    s3.fail(Fault(503, "ServiceUnavailable", meant=lambda request: request.path.split("/")[-1] in odd))
    report = store.verify()
    assert [Path(each.file).name for each in report.unreadable] == odd
    assert report.checked_videos == 32
    s3.heal()
    s3.fail(Fault(503, "ServiceUnavailable", meant=lambda request: request.path.endswith(".h5")))
    s3.requests.clear()
    with pytest.raises(StoreUnreadableError, match=r"shard-00002.h5 cannot be read: the service failed .*later"):
        store.verify()
    assert not s3.asked("GET", "shard-00003.h5")


def test_credentials_are_nowhere(s3: ObjectStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "reeldex")
    s3.fail(Fault(503, "SlowDown"), 8)
    store = filled(URL, videos=4)
    assert "Trying again" in caplog.text
    s3.fail(Fault(403, "SignatureDoesNotMatch", meant=lambda request: request.range != ""))
    with pytest.raises(StoreUnreadableError) as error:
        FeatureStore(URL).read(SPACE.name, "v1")
    texts = [caplog.text, str(error.value), repr(store.path)]
    s3.heal()
    bodies = [content_of(s3, each) for each in keys(s3)]
    local = [path.read_bytes() for path in local_side(store.path).rglob("*") if path.is_file()]
    for secret in (KEY, SECRET):
        assert all(secret not in each for each in texts)
        assert all(secret.encode() not in each for each in [*bodies, *local])


def test_what_needs_a_disk_says_so(s3: ObjectStore) -> None:
    path = filled(URL, videos=4).path / "manifest"
    for use in (lambda: os.fspath(path), lambda: path.rename("x"), lambda: path.open("w")):
        with pytest.raises(RemoteStoreError, match="needs files on a disk, and s3://lab/some/store/manifest"):
            use()


def test_a_server_without_conditional_writes_is_refused(s3: ObjectStore) -> None:
    s3.conditional = False
    with pytest.raises(RemoteStoreError, match="does not support conditional writes"):
        FeatureStore(URL, create=True)


def test_a_server_that_does_not_name_the_condition_is_as_good(s3: ObjectStore, tmp_path: Path) -> None:
    """MinIO and others answer 412 with a code and a message alone."""
    s3.names_condition = False
    store = filled(URL, videos=4)
    path = FeatureStore(URL, create=True).path / "manifest" / "note.json"
    assert isinstance(path, RemotePath)
    assert path.create(b"mine")
    assert not path.create(b"other")
    (tmp_path / "note").write_bytes(b"other")
    assert not path.upload_new(tmp_path / "note")
    assert content_of(s3, "some/store/manifest/note.json") == b"mine"
    s3.fail(Fault(500, "InternalError", meant=lambda request: request.method == "PUT"), times=1)
    assert path.create(b"mine"), "the answer to the first attempt may have been lost"
    path.unlink()
    with claim_shard(store.path, 0), pytest.raises(ClaimHeldError), claim_shard(store.path, 0):
        pass
    # Other refusals of a creation are still errors.
    s3.fail(Fault(400, "InvalidRequest", meant=lambda request: request.method == "PUT"))
    with pytest.raises(RemoteError, match="OSError"):
        path.upload_new(tmp_path / "note")


def test_a_store_in_any_other_file_system_is_read_too() -> None:
    """Its files have no `details`, which those of the object stores have."""
    import fsspec

    try:
        store = filled("memory://lab/read", videos=8)
        np.testing.assert_array_equal(store.read(SPACE.name, "v5"), features(5).rows)
        np.testing.assert_array_equal(store.read_span(SPACE.name, "v6", 5, 6), features(6).rows[5:7])
        assert FeatureStore("memory://lab/read").verify().sound
    finally:
        fsspec.filesystem("memory").rm("/lab/read", recursive=True)


@pytest.mark.parametrize("server", ["that names the condition", "that does not", "with other words"])
def test_a_file_that_is_replaced_or_removed_while_it_is_read_is_not_mixed(s3: ObjectStore, server: str) -> None:
    s3.names_condition = server != "that does not"
    path = FeatureStore(URL, create=True).path / "manifest" / "large"
    assert isinstance(path, RemotePath)
    path.write_bytes(bytes(2 << 20))
    with RangeReader(path.url) as reader:
        assert reader.read_range(1 << 20, 100_000) == bytes(100_000)
        client(s3).put_object(Bucket="lab", Key="some/store/manifest/large", Body=b"1" * (2 << 20))
        if server == "with other words":
            s3.fail(Fault(412, "PreconditionFailed", meant=lambda request: request.range != ""))
        with pytest.raises(RemoteError, match="the file was replaced while it was read") as replaced:
            reader.read_range(1_200_000, 100_000)
        assert replaced.value.fault.transient
    s3.faults.clear()
    with RangeReader(path.url) as reader:
        client(s3).delete_object(Bucket="lab", Key="some/store/manifest/large")
        with pytest.raises(RemoteError, match="the file was removed while it was read") as removed:
            reader.read_range(1_200_000, 100_000)
        assert not removed.value.fault.transient


def test_a_feature_file_that_is_removed_while_it_is_read_is_not_taken_for_damaged(s3: ObjectStore) -> None:
    store = FeatureStore(URL, create=True)
    plan(store, range(4))
    stage(store, 0, row_count=200)
    publish(store, 0)
    with ShardReader(store.feature_file(SPACE.name, "v1")) as reader:
        assert len(reader.read("v1").rows) == 200
        client(s3).delete_object(Bucket="lab", Key="some/store/features/net2d.v1/shard-00000.h5")
        with pytest.raises(StoreUnreadableError, match=r"the file was removed while it was read\. Open it again"):
            reader.read("v3")


def test_a_feature_file_that_a_running_extraction_replaces_is_verified_in_its_new_version(s3: ObjectStore) -> None:
    store = filled(URL, videos=4)
    names = ["some/store/features/net2d.v1/shard-00000.h5", "some/store/outcomes/shard-00000.json"]
    before = {name: content_of(s3, name) for name in names}
    stage(store, 0, row_count=50)
    publish(store, 0)
    after = {name: content_of(s3, name) for name in names}
    whole = store.verify()
    assert whole.sound
    put_all(s3, before)
    replaced: list[Request] = []

    def replace(request: Request) -> bool:
        if request.range and not replaced:
            replaced.append(request)
            put_all(s3, after)
        return False

    s3.fail(Fault(meant=replace))
    report = FeatureStore(URL).verify()
    assert replaced
    # The outcomes were read before, and may have another size.
    assert dataclasses.replace(report, checked_bytes=whole.checked_bytes) == whole


def put_all(s3: ObjectStore, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        client(s3).put_object(Bucket="lab", Key=name, Body=content)


def test_verify_goes_on_while_the_service_answers_in_between(s3: ObjectStore) -> None:
    store = FeatureStore(URL, create=True)
    plan(store, range(8), per_shard=2)
    failing = {f"/lab/some/store/manifest/shard-{at:05d}.json" for at in (0, 1, 3)}
    s3.fail(Fault(503, "SlowDown", meant=lambda request: request.method == "GET" and request.path in failing))
    report = FeatureStore(URL).verify()
    assert [each.file for each in report.unreadable] == [f"manifest/shard-{at:05d}.json" for at in (0, 1, 3)]
    assert not report.damages
    failing.add("/lab/some/store/manifest/shard-00002.json")
    with pytest.raises(StoreUnreadableError, match=r"shard-00002\.json cannot be read: the service asks for fewer"):
        FeatureStore(URL).verify()
