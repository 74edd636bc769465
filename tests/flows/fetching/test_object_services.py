"""Videos of Google Cloud and Azure: what `test_object_store.py` tries with S3, with their clients and emulators."""

from __future__ import annotations

import hashlib

import pytest

from reeldex.errors import InfrastructureError, UsageError
from reeldex.extractors.errors import FailureReason
from reeldex.flows.fetching import object_store as fetching_object_store
from reeldex.flows.fetching.ahead import FetchedFiles
from reeldex.flows.fetching.looking import exists
from reeldex.flows.fetching.services import Services
from tests.flows.fetching.conftest import Config
from tests.flows.fetching.test_ahead import fetched, reason
from tests.flows.fetching.test_object_store import CONTENT, found, ids
from tests.object_services import client, url_of
from tests.object_store import Fault, ObjectStore, Request

pytestmark = [
    pytest.mark.parametrize("_object_service", ["gs", "az"], indirect=True, scope="session"),
    # What these clients put into one request.
    pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning"),
]


def put(service: ObjectStore, *keys: str) -> list[str]:
    """Upload objects, each with some bytes of its own; return their URLs."""
    plain = client(service)
    for key in keys:
        plain.pipe_file(f"lab/{key}", CONTENT + hashlib.sha256(key.encode()).digest())
    service.requests.clear()
    return [url_of(service, key) for key in keys]


def test_a_folder_is_searched_like_one_of_this_machine(service: ObjectStore, config: Config) -> None:
    put(service, "v/a.mp4", "v/b.MKV", "v/notes.txt", "v/.hidden.mp4", "v/sub/a.mp4", "v/sub/deep/c d#1.mp4", "w/x.mp4")
    videos = found(config, url_of(service, "v"))
    assert ids(videos) == {
        "a.mp4": url_of(service, "v/a.mp4"),
        "b": url_of(service, "v/b.MKV"),
        "sub/a.mp4": url_of(service, "v/sub/a.mp4"),
        "c d#1": url_of(service, "v/sub/deep/c d#1.mp4"),
    }
    assert {str(note.kind): note.count for note in videos.notes} == {"other_ending": 1, "hidden": 1, "equal_name": 2}
    assert videos.videos[0].size_bytes == len(CONTENT) + 32
    assert ids(found(config, url_of(service, "v/"))) == ids(videos)
    assert len(found(config, f"{service.scheme}://lab").videos) == 5
    results = fetched(FetchedFiles(config(), {}), list(ids(videos).values()))
    key = "v/sub/deep/c d#1.mp4"
    assert results[url_of(service, key)] == CONTENT + hashlib.sha256(key.encode()).digest()


def test_a_list_in_the_bucket_names_objects(service: ObjectStore, config: Config) -> None:
    put(service, "v/a.mp4", "v/b.mp4")
    client(service).pipe_file("lab/v/list.csv", b"path,video_id\nb.mp4,B\n../v/a.mp4,\n/v/c.mp4,\n")
    videos = found(config, url_of(service, "v/list.csv"))
    assert ids(videos) == {name: url_of(service, f"v/{key}.mp4") for name, key in (("B", "b"), ("a", "a"), ("c", "c"))}
    assert [entry.size_bytes for entry in videos.videos] == [len(CONTENT) + 32, len(CONTENT) + 32, None]


def test_what_changes_has_another_version(service: ObjectStore, config: Config) -> None:
    put(service, "v/a.mp4")
    (before,) = found(config, url_of(service, "v")).videos
    (alone,) = found(config, url_of(service, "v/a.mp4")).videos
    assert alone.same_file(before), "a listing and a request for one agree"
    client(service).pipe_file("lab/v/a.mp4", CONTENT + bytes(32))
    (changed,) = found(config, url_of(service, "v/a.mp4")).videos
    assert changed.size_bytes == before.size_bytes
    assert not changed.same_file(before)
    services = Services(config())
    assert exists(url_of(service, "v/a.mp4"), services)
    assert not exists(url_of(service, "v/b.mp4"), services)
    assert not exists(f"{service.scheme}://absent/v/b.mp4", services)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("lab/absent", "There is no such object"),
        ("absent/v", "bucket or container 'absent' does not exist"),
        ("absent/v/a.mp4", "bucket or container 'absent' does not exist"),
        ("lab/absent.txt", r"list \w+://lab/absent.txt cannot be read"),
        ("lab/empty", "There are no videos"),
    ],
)
def test_a_source_that_is_not_there_is_refused(service: ObjectStore, config: Config, source: str, why: str) -> None:
    put(service, "v/a.mp4", "empty/notes.txt")
    with pytest.raises(UsageError, match=why):
        found(config, f"{service.scheme}://{source}")


def test_objects_arrive_in_pieces_and_go_on_where_they_stopped(
    service: ObjectStore, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching_object_store, "_PIECE_BYTES", 200_000)
    urls = put(service, "a.mp4", "empty.mp4")
    client(service).pipe_file("lab/empty.mp4", b"")
    service.requests.clear()
    service.fail(Fault(503, "ServerBusy", meant=lambda each: each.range.startswith("bytes=400000")), times=4)
    results = fetched(FetchedFiles(config(retries=8), {}), urls)
    assert results[urls[0]] == CONTENT + hashlib.sha256(b"a.mp4").digest()
    assert results[urls[1]] == b""
    starts = [each.range.partition("-")[0] for each in service.asked("GET", "a.mp4")]
    assert starts.count("bytes=0") == 1


def test_an_object_that_changes_while_it_is_fetched_is_never_mixed(
    service: ObjectStore, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching_object_store, "_PIECE_BYTES", 200_000)
    (url,) = put(service, "a.mp4")
    new = CONTENT[::-1] + bytes(32)
    changed: list[Request] = []
    real = fetching_object_store.ObjectFiles._piece

    def replace_once(files: fetching_object_store.ObjectFiles, at: str, start: int, end: int, seconds: float) -> bytes:
        if start == 400_000 and not changed:
            changed.append(Request("PUT", at, ""))
            client(service).pipe_file("lab/a.mp4", new)
        return real(files, at, start, end, seconds)

    monkeypatch.setattr(fetching_object_store.ObjectFiles, "_piece", replace_once)
    assert fetched(FetchedFiles(config(), {}), [url])[url] == new


def test_faults_of_objects_and_of_their_store(service: ObjectStore, config: Config) -> None:
    urls = put(service, "a.mp4", "denied.mp4")
    code = {"gs": "forbidden", "az": "AuthorizationPermissionMismatch"}[service.scheme]
    service.fail(Fault(403, code, meant=lambda each: "denied.mp4" in each.path))
    gone = [url_of(service, "gone.mp4"), f"{service.scheme}://absent/a.mp4"]
    results = fetched(FetchedFiles(config(retries=1), {}), [*urls, *gone])
    assert isinstance(results[urls[0]], bytes)
    kinds = [reason(results[url]) for url in (urls[1], *gone)]
    assert kinds == [FailureReason.UNREADABLE, FailureReason.MISSING, FailureReason.MISSING]
    service.heal()
    service.fail(Fault(503, "ServerBusy"))
    with pytest.raises(InfrastructureError, match="lab"):
        found(config, f"{service.scheme}://lab", retries=1)
