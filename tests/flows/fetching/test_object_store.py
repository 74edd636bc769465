"""Videos of an object store: the real client against a server of S3."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from reeldex.errors import InfrastructureError, PermanentFaultError, UsageError
from reeldex.extractors.errors import FailureReason
from reeldex.flows.config.extraction import ExtractConfig
from reeldex.flows.extraction.sources import FoundVideos, find_videos
from reeldex.flows.extraction.video_ids import KnownIds
from reeldex.flows.fetching import object_store as fetching_object_store
from reeldex.flows.fetching.ahead import FetchedFiles
from reeldex.flows.fetching.faults import FetchError
from reeldex.flows.fetching.looking import exists
from reeldex.flows.fetching.patience import Patience, deadline_in
from reeldex.flows.fetching.services import Services
from reeldex.remote_urls import RemoteUrl
from tests.flows.fetching.conftest import Config
from tests.flows.fetching.test_ahead import fetched, reason
from tests.flows.fetching.web_server import Page, Site
from tests.object_store import Fault, ObjectStore, Request, client

pytestmark = pytest.mark.slow

CONTENT = bytes(range(256)) * 4096


def put(store: ObjectStore, *keys: str, content: bytes = CONTENT) -> list[str]:
    """Upload objects, each with some bytes of its own; return their URLs."""
    bucket = client(store)
    for key in keys:
        bucket.put_object(Bucket="lab", Key=key, Body=content + hashlib.sha256(key.encode()).digest())
    store.requests.clear()
    return [f"s3://lab/{key}" for key in keys]


def found(config: Config, *sources: str, options: ExtractConfig | None = None, **changes: object) -> FoundVideos:
    return find_videos(sources, options or ExtractConfig(), lambda _: KnownIds(), Services(config(**changes)))


def ids(videos: FoundVideos) -> dict[str, str]:
    return {entry.video_id: entry.path for entry in videos.videos}


def is_of(key: str, method: str = "GET") -> Fault:
    return Fault(503, "ServiceUnavailable", meant=lambda each: each.method == method and key in each.path)


def test_a_folder_is_searched_like_one_of_this_machine(s3: ObjectStore, config: Config) -> None:
    put(s3, "v/a.mp4", "v/b.MKV", "v/notes.txt", "v/.hidden.mp4", "v/sub/a.mp4", "v/sub/deep/c d#1?.mp4", "w/x.mp4")
    client(s3).put_object(Bucket="lab", Key="v/sub/", Body=b"")
    videos = found(config, "s3://lab/v")
    assert ids(videos) == {
        "a.mp4": "s3://lab/v/a.mp4",
        "b": "s3://lab/v/b.MKV",
        "sub/a.mp4": "s3://lab/v/sub/a.mp4",
        "c d#1?": "s3://lab/v/sub/deep/c d#1?.mp4",
    }
    assert {str(note.kind): note.count for note in videos.notes} == {"other_ending": 1, "hidden": 1, "equal_name": 2}
    assert videos.videos[0].size_bytes == len(CONTENT) + 32
    assert s3.asked("HEAD", "mp4") == [], "the listing says it all"
    assert ids(found(config, "S3://lab/v/")) == ids(videos)
    options = ExtractConfig(include=("sub/**",), exclude=("deep",))
    assert ids(found(config, "s3://lab/v", options=options)) == {"a": "s3://lab/v/sub/a.mp4"}
    assert len(found(config, "s3://lab").videos) == 5


def test_an_object_named_like_a_url_with_credentials_does_not_stop_the_others(s3: ObjectStore, config: Config) -> None:
    put(s3, "v/a.mp4", "v/b.mp4?token=1.mp4", "v/50%.mp4")
    videos = found(config, "s3://lab/v")
    assert sorted(ids(videos).values()) == ["s3://lab/v/50%.mp4", "s3://lab/v/a.mp4"]
    note = next(note for note in videos.notes if note.kind == "like_credentials")
    assert (note.count, note.examples, note.is_failure) == (1, ("s3://lab/v/b.mp4?***",), True)
    assert len(found(config, "s3://lab/v", options=ExtractConfig(exclude=("*token*",))).videos) == 2


def test_a_list_names_objects_beside_files_and_addresses(
    s3: ObjectStore, web: Site, config: Config, tmp_path: Path
) -> None:
    put(s3, "v/a.mp4", "v/b.mp4")
    web.pages["/w%20x.mp4"] = Page(CONTENT)
    (tmp_path / "local.mp4").write_bytes(b"here")
    rows = ["local.mp4", "s3://lab/v/a.mp4", web.url("/w%20x.mp4"), "s3://lab/v/gone.mp4", web.url("/gone.mp4")]
    (tmp_path / "list.txt").write_text("\n".join(rows), encoding="utf-8")
    videos = found(config, str(tmp_path / "list.txt"))
    by_id = {entry.video_id: entry for entry in videos.videos}
    assert list(by_id) == ["local", "a", "w x", "v/gone.mp4", "gone.mp4"]
    assert [entry.size_bytes for entry in videos.videos] == [4, len(CONTENT) + 32, len(CONTENT), None, None]
    # A list in the bucket, with paths relative to it.
    client(s3).put_object(Bucket="lab", Key="v/list.csv", Body=b"path,video_id\nb.mp4,B\n../v/a.mp4,\n/v/c.mp4,\n")
    assert ids(found(config, "s3://lab/v/list.csv")) == {
        "B": "s3://lab/v/b.mp4",
        "a": "s3://lab/v/a.mp4",
        "c": "s3://lab/v/c.mp4",
    }
    web.pages["/lists/l.txt"] = Page(b"a b.mp4\n../w%20x.mp4\n")
    assert set(ids(found(config, web.url("/lists/l.txt"))).values()) == {
        web.url("/lists/a%20b.mp4"),
        web.url("/w%20x.mp4"),
    }


def test_many_objects_of_one_folder_are_looked_at_by_one_listing(
    s3: ObjectStore, config: Config, tmp_path: Path
) -> None:
    urls = put(s3, *(f"v/{number}.mp4" for number in range(60)), content=b"x")
    (tmp_path / "list.txt").write_text("\n".join([*urls, "s3://lab/v/gone.mp4"]), encoding="utf-8")
    listed = {
        entry.path: (entry.size_bytes, entry.mtime_ns) for entry in found(config, str(tmp_path / "list.txt")).videos
    }
    assert len(s3.asked("HEAD", ".mp4")) == 1, "of the one that the listing does not have"
    (tmp_path / "one.txt").write_text(urls[3], encoding="utf-8")
    (alone,) = found(config, str(tmp_path / "one.txt")).videos
    assert listed[urls[3]] == (alone.size_bytes, alone.mtime_ns), "a listing and a request for one agree"
    assert listed["s3://lab/v/gone.mp4"] == (None, None)


def test_a_listing_may_take_longer_than_a_request(
    s3: ObjectStore, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, "v/a.mp4", content=b"x")
    monkeypatch.setattr(fetching_object_store, "_SILENCE_SECONDS", 0.5)
    store = Services(config()).store(RemoteUrl.parse("s3://lab/v"))
    s3.fail(Fault(seconds=1.5), times=1)
    assert len(store.entries("s3://lab/v", Patience(0, 0.0, deadline_in(20)))) == 1
    s3.heal()
    s3.fail(Fault(seconds=1.5), times=1)
    with pytest.raises(InfrastructureError, match="the service did not answer in time"):
        found(config, "s3://lab/v", retries=0)


def test_what_changes_has_another_version_and_what_moves_keeps_it(s3: ObjectStore, config: Config) -> None:
    put(s3, "v/a.mp4")
    (before,) = found(config, "s3://lab/v").videos
    client(s3).copy_object(Bucket="lab", Key="w/a.mp4", CopySource="lab/v/a.mp4")
    (moved,) = found(config, "s3://lab/w").videos
    assert moved.same_file(before)
    client(s3).put_object(Bucket="lab", Key="v/a.mp4", Body=CONTENT + bytes(32))
    (changed,) = found(config, "s3://lab/v/a.mp4").videos
    assert changed.size_bytes == before.size_bytes
    assert not changed.same_file(before)
    services = Services(config())
    assert exists("s3://lab/v/a.mp4", services)
    assert not exists("s3://lab/v/b.mp4", services)
    assert not exists("s3://absent/v/b.mp4", services)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("s3://lab/absent", "There is no such object"),
        ("s3://absent/v", "bucket or container 'absent' does not exist"),
        ("s3://lab/v/*.mp4", "Patterns do not work in URLs"),
        ("s3://lab/absent.txt", "list s3://lab/absent.txt cannot be read"),
        ("s3://lab/empty", "There are no videos"),
    ],
)
def test_a_source_that_is_not_there_is_refused(s3: ObjectStore, config: Config, source: str, why: str) -> None:
    put(s3, "v/a.mp4", "empty/notes.txt")
    with pytest.raises(UsageError, match=why):
        found(config, source)


def test_objects_arrive_in_pieces_and_go_on_where_they_stopped(
    s3: ObjectStore, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching_object_store, "_PIECE_BYTES", 200_000)
    urls = put(s3, "a.mp4", "empty.mp4")
    client(s3).put_object(Bucket="lab", Key="empty.mp4", Body=b"")
    s3.requests.clear()

    def later(each: Request) -> bool:
        return each.method == "GET" and "a.mp4" in each.path and each.range.startswith("bytes=400000")

    s3.fail(Fault(503, "SlowDown", meant=later), times=8)
    s3.fail(Fault(500, "InternalError", meant=lambda each: each.range.startswith("bytes=600000")), times=1)
    results = fetched(FetchedFiles(config(retries=8), {}), urls)
    assert results[urls[0]] == CONTENT + hashlib.sha256(b"a.mp4").digest()
    assert results[urls[1]] == b""
    starts = [each.range.partition("-")[0] for each in s3.asked("GET", "a.mp4")]
    assert starts.count("bytes=0") == 1


def test_an_object_that_changes_while_it_is_fetched_is_never_mixed(
    s3: ObjectStore, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching_object_store, "_PIECE_BYTES", 200_000)
    (url,) = put(s3, "a.mp4")
    new = CONTENT[::-1] + bytes(32)
    changed: list[Request] = []

    def replace_once(each: Request) -> bool:
        if each.range.startswith("bytes=400000") and not changed:
            changed.append(each)
            client(s3).put_object(Bucket="lab", Key="a.mp4", Body=new)
        return False

    s3.fail(Fault(meant=replace_once))
    assert fetched(FetchedFiles(config(), {}), [url])[url] == new


def test_faults_of_objects_and_of_their_store(s3: ObjectStore, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = put(s3, "a.mp4", "b.mp4", "denied.mp4", "bad.mp4")
    s3.fail(Fault(403, "AccessDenied", meant=lambda each: "denied.mp4" in each.path))
    s3.fail(is_of("bad.mp4"))
    everything = [*urls, "s3://lab/gone.mp4", "s3://absent/a.mp4", "s3://lab/large.mp4"]
    sizes = {"s3://lab/large.mp4": 1 << 50}
    results = fetched(FetchedFiles(config(retries=1), sizes), everything)
    assert [isinstance(results[url], bytes) for url in urls] == [True, True, False, False]
    assert [reason(results[url]) for url in everything[2:]] == [
        FailureReason.UNREADABLE,
        FailureReason.UNREADABLE,
        FailureReason.MISSING,
        FailureReason.MISSING,
        FailureReason.TOO_LARGE,
    ]
    s3.heal()
    s3.fail(Fault(503, "SlowDown"))
    throttled = fetched(FetchedFiles(config(retries=1), dict.fromkeys(urls)), urls[:1])[urls[0]]
    assert isinstance(throttled, InfrastructureError)
    with pytest.raises(InfrastructureError, match="lab"):
        found(config, "s3://lab", retries=1)
    s3.heal()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(InfrastructureError, match="the service cannot be reached"):
        found(config, "s3://lab", retries=1)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(PermanentFaultError, match=r"no credentials were found.*AWS_ACCESS_KEY_ID"):
        found(config, "s3://lab")
    s3fs.S3FileSystem.clear_instance_cache()


def test_files_of_any_file_system_of_fsspec(config: Config) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe({"/here/v/a.mp4": CONTENT, "/here/v/s/b.mp4": b"b"})
    videos = found(config, "memory://here/v")
    assert ids(videos) == {"a": "memory://here/v/a.mp4", "b": "memory://here/v/s/b.mp4"}
    results = fetched(FetchedFiles(config(), {}), [*ids(videos).values(), "memory://here/v/c.mp4"])
    assert results["memory://here/v/a.mp4"] == CONTENT
    assert isinstance(results["memory://here/v/c.mp4"], FetchError)
    memory.rm("/here", recursive=True)


def test_a_rest_is_asked_for_only_if_it_is_known_to_be_of_the_same_file(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/there/a.mp4", CONTENT)
    services, url = Services(config()), "memory://there/a.mp4"
    service, patience = services.of(url), services.patience(url)

    def rest() -> tuple[int, bytes]:
        with service.opened(url, 5, service.look_at(url, patience), patience) as body:
            return body.offset, b"".join(body.blocks)

    assert rest() == (5, CONTENT[5:])
    # As a file system that states sizes alone.
    monkeypatch.setattr(type(memory), "info", lambda *_, **__: {"type": "file", "size": len(CONTENT)})
    assert rest() == (0, CONTENT)
    memory.rm_file("/there/a.mp4")
