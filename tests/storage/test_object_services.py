"""Stores at Google Cloud and Azure: what `test_object_storage.py` tries with S3, with their clients and emulators."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from reeldex.remote_faults import RemoteError
from reeldex.storage.errors import NotAStoreError, StoreError, StoreUnreadableError
from reeldex.storage.remote_path import RemotePath
from reeldex.storage.remote_ranges import RangeReader
from reeldex.storage.removal import remove_videos
from reeldex.storage.store import FeatureStore
from tests.object_services import ACCOUNT_KEY, client, environment, url_of
from tests.object_store import SECRET, Fault, ObjectStore, Request
from tests.storage.test_object_storage import SPACE, features, filled, plan, publish, stage

pytestmark = [
    pytest.mark.parametrize("_object_service", ["gs", "az"], indirect=True, scope="session"),
    # What these clients put into one request.
    pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning"),
]


def writes(request: Request) -> bool:
    return request.method in ("PUT", "POST")


def file_at(store: FeatureStore, name: str) -> RemotePath:
    path = store.path / "manifest" / name
    assert isinstance(path, RemotePath)
    return path


def test_a_store_holds_what_one_on_a_disk_does(service: ObjectStore, tmp_path: Path) -> None:
    there, here = filled(url_of(service)), filled(tmp_path / "store")
    assert str(there.path) == url_of(service)
    assert there.status() == here.status()
    for video_id in here.ids():
        np.testing.assert_array_equal(there.read(SPACE.name, video_id), here.read(SPACE.name, video_id))
        span = (SPACE.name, video_id, 3.0, 7.5)
        np.testing.assert_array_equal(there.read_span(*span), here.read_span(*span))
    report = there.verify()
    assert report.sound
    assert report.checked_videos == 8
    with there.lock():
        remove_videos(there, ["v2"])
        there.forget(["v3"])
    again = FeatureStore(url_of(service))
    assert again.ids() == [f"v{at}" for at in (0, 1, 4, 5, 6, 7)]
    assert again.verify().sound
    file = tmp_path / "copy.h5"
    file.write_bytes(client(service).cat_file(f"lab/some/store/features/{SPACE.name}/shard-00001.h5"))
    with h5py.File(file) as opened:
        np.testing.assert_array_equal(opened["features/v5"][:], features(5).rows)


def test_files_in_parts_and_a_span_by_ranges(service: ObjectStore) -> None:
    """Over 5 MB, Google's client uploads in parts."""
    store = FeatureStore(url_of(service), create=True)
    plan(store, range(40), per_shard=40)
    stage(store, 0, row_count=200)
    publish(store, 0)
    store = FeatureStore(url_of(service))
    assert store.outcomes(0) is not None
    service.requests.clear()
    np.testing.assert_array_equal(store.read_span(SPACE.name, "v37", 100.0, 119.0), features(37, 200).rows[100:120])
    read = [each for each in service.asked("GET", "shard-00000.h5") if each.range]
    assert len(read) == 2
    assert read[1].bytes_asked == 20 * 512 * 2


def test_names_are_taken_as_they_are(service: ObjectStore) -> None:
    url = url_of(service, "odd store/ü [x] 50%/a#1")
    assert filled(url, videos=4).verify().sound
    assert FeatureStore(url).ids() == ["v0", "v1", "v2", "v3"]


def test_documents_that_are_read_in_order_are_fetched_together(service: ObjectStore) -> None:
    before = filled(url_of(service), videos=48).status()
    service.most_at_once = 0
    service.fail(Fault(seconds=0.2, meant=lambda request: "/shard-" in request.path and request.method == "GET"))
    assert FeatureStore(url_of(service)).status() == before
    assert service.most_at_once >= 6


def test_a_place_that_is_absent_is_named(service: ObjectStore) -> None:
    with pytest.raises(NotAStoreError, match=r"://lab/no/store is not a feature store: no such directory"):
        FeatureStore(url_of(service, "no/store"))
    for create in (False, True):
        with pytest.raises(StoreError, match=r"the bucket or container 'nobody' does not exist\. Create it"):
            FeatureStore(f"{service.scheme}://nobody/store", create=create)


@pytest.mark.parametrize(("status", "code"), [(503, "ServerBusy"), (500, "InternalError"), (502, "")])
def test_a_service_that_fails_for_a_moment_costs_time_only(service: ObjectStore, status: int, code: str) -> None:
    start = time.monotonic()
    for work in (lambda: filled(url_of(service), videos=4), lambda: FeatureStore(url_of(service)).verify()):
        service.fail(Fault(status, code), times=4)
        work()
    assert FeatureStore(url_of(service)).verify().sound
    assert [entry[1] for entry in service.faults] == [0, 0]
    # The clients' own pauses would be seconds.
    assert time.monotonic() - start < 20


FAULTS = {
    "gs": [(403, "forbidden", "access is denied"), (401, "authError", "the credentials were refused")],
    "az": [
        (403, "AuthorizationPermissionMismatch", "access is denied"),
        (403, "AuthenticationFailed", "the credentials were refused"),
    ],
}


@pytest.mark.parametrize("kind", [0, 1])
def test_a_service_that_refuses_is_named(service: ObjectStore, kind: int, caplog: pytest.LogCaptureFixture) -> None:
    status, code, words = FAULTS[service.scheme][kind]
    remedy = {"gs": "GOOGLE_APPLICATION_CREDENTIALS", "az": "AZURE_STORAGE_CONN"}
    store = filled(url_of(service), videos=4)
    caplog.clear()
    service.fail(Fault(status, code, meant=lambda request: ".h5" in request.path and request.range != ""))
    with pytest.raises(StoreUnreadableError, match=words) as unreadable:
        FeatureStore(url_of(service)).read(SPACE.name, "v1")
    assert (remedy[service.scheme] in str(unreadable.value)) == (words == "the credentials were refused")
    report = store.verify()
    assert not report.damages
    service.heal()
    service.fail(Fault(status, code, meant=writes))
    with pytest.raises(OSError, match=words) as unwritable:
        plan(store, range(4, 8))
    for secret in (SECRET, ACCOUNT_KEY):
        assert secret not in f"{unreadable.value}{unwritable.value}{caplog.text}"
    # What the client logs of it, with tracebacks, is not shown beside the error.
    assert not [each for each in caplog.records if each.name.startswith(("gcsfs", "azure", "adlfs"))]


def test_a_file_that_is_replaced_while_it_is_read_is_not_mixed(service: ObjectStore) -> None:
    path = file_at(FeatureStore(url_of(service), create=True), "large")
    old, new = bytes(2 << 20), b"1" * (2 << 20)
    path.write_bytes(old)
    with RangeReader(path.url) as reader:
        assert reader.read_range(1 << 20, 100_000) == old[:100_000]
        client(service).pipe_file("lab/some/store/manifest/large", new)
        with pytest.raises(RemoteError, match="the file was replaced while it was read"):
            reader.read_range(1_200_000, 100_000)
    with RangeReader(path.url) as reader:
        client(service).rm_file("lab/some/store/manifest/large")
        with pytest.raises(RemoteError, match="the file was removed while it was read") as removed:
            reader.read_range(1_200_000, 100_000)
        assert not removed.value.fault.transient


def test_a_file_that_is_removed_between_a_range_and_the_look_at_its_version_is_not_taken_for_absent(
    service: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_at(FeatureStore(url_of(service), create=True), "large")
    path.write_bytes(bytes(2 << 20))
    real = RangeReader._is_replaced

    def removed_first(reader: RangeReader) -> bool:
        path.unlink()
        return real(reader)

    with RangeReader(path.url) as reader:
        monkeypatch.setattr(RangeReader, "_is_replaced", removed_first)
        with pytest.raises(RemoteError, match="the file was removed while it was read"):
            reader.read_range(1 << 20, 100_000)


def test_a_file_is_created_once(service: ObjectStore, tmp_path: Path) -> None:
    path = file_at(FeatureStore(url_of(service), create=True), "note.json")
    (tmp_path / "file").write_bytes(b"theirs")
    assert path.create(b"mine")
    assert not path.create(b"mine")
    assert not path.upload_new(tmp_path / "file")
    assert path.read_now() == b"mine"
    path.unlink()
    path.unlink(missing_ok=True)
    assert path.upload_new(tmp_path / "file")
    assert path.read_now() == b"theirs"


def test_a_lost_answer_to_a_creation_is_not_taken_for_a_rival(service: ObjectStore) -> None:
    path = file_at(FeatureStore(url_of(service), create=True), "note.json")
    client(service).pipe_file("lab/some/store/manifest/note.json", b"mine")
    service.fail(Fault(500, "InternalError", meant=writes), times=1)
    assert path.create(b"mine")
    service.fail(Fault(500, "InternalError", meant=writes), times=1)
    assert not path.create(b"other")


def test_runs_share_a_store(service: ObjectStore) -> None:
    store = filled(url_of(service), videos=4)
    with store.join(share=True) as run, FeatureStore(url_of(service)).join(share=True) as other:
        assert run.id != other.id


_ABSENT = """
import sys
from reeldex import remote_faults
remote_faults.FIRST_WAIT_SECONDS = 0.01
from reeldex.storage.store import FeatureStore
try:
    FeatureStore(sys.argv[1])
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["nowhere", "no credentials", "another key"])
def test_a_wrong_environment_is_named(service: ObjectStore, wrong: str) -> None:
    variables = environment(service)
    if wrong == "nowhere":
        variables = {name: text.replace(service.url, "http://127.0.0.1:9") for name, text in variables.items()}
        words = "the service cannot be reached. Check the network"
    elif service.scheme == "gs":
        pytest.skip("the emulator of Google Cloud Storage asks for no credentials")
    elif wrong == "no credentials":
        variables = {}
        words = "with credentials. Set AZURE_STORAGE_CONNECTION_STRING"
    else:
        variables = environment(service, key="A" + ACCOUNT_KEY[1:])
        # Azure's own answer is AuthenticationFailed.
        words = "access is denied (AuthorizationFailure)"
    inherited = {name: text for name, text in os.environ.items() if name not in environment(service)}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _ABSENT, url_of(service)],
        env={**inherited, "HOME": "/nonexistent", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert words in done.stdout
    assert done.stderr == ""
    assert time.monotonic() - start < 90


def test_credentials_are_nowhere(service: ObjectStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "reeldex")
    service.fail(Fault(503, "ServerBusy"), 4)
    filled(url_of(service), videos=4)
    plain = client(service)
    bodies = [plain.cat_file(path) for path in plain.find("lab")]
    for secret in (SECRET, ACCOUNT_KEY):
        assert secret not in caplog.text
        assert all(secret.encode() not in body for body in bodies)
