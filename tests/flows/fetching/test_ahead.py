"""The videos of a shard, fetched ahead: within the bytes of the cache, in any order, and with nothing left behind."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reeldex.errors import InfrastructureError, UsageError
from reeldex.extractors.decoders import affects_all_videos
from reeldex.extractors.errors import ExtractionError, FailureReason
from reeldex.extractors.source_files import ReadyFile
from reeldex.flows.config.fetching import FetchConfig
from reeldex.flows.fetching import cache
from reeldex.flows.fetching.ahead import FetchedFiles
from reeldex.flows.fetching.cache import CacheFolder
from reeldex.storage.write_errors import UnwritableError
from tests.flows.fetching.conftest import Config
from tests.flows.fetching.web_server import Page, Request, Site, always, dripping, endless, first, for_content
from tests.waiting import wait_until

MB = 1 << 20
CONTENT = bytes(range(256)) * 2048  # half of one


def cached_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def fetched(files: FetchedFiles, urls: Sequence[str]) -> dict[str, bytes | Exception]:
    """Fetch all of these, one after the other."""
    files.start(urls)
    found: dict[str, bytes | Exception] = {}
    try:
        while (ready := files.next_ready()) is not None:
            assert urls[ready.number] not in found
            found[urls[ready.number]] = ready.error or Path(ready.path).read_bytes()
            files.release(ready.number)
    finally:
        files.close()
    return found


def reason(found: object) -> FailureReason:
    assert isinstance(found, ExtractionError), found
    return found.reason


def test_videos_arrive_whole_and_leave_nothing_behind(web: Site, config: Config, tmp_path: Path) -> None:
    for number in range(12):
        web.pages[f"/{number}.mp4"] = Page(CONTENT + bytes([number]))

    def beside_another(request: Request, page: Page) -> None:
        wait_until(lambda: web.most_active > 1, 10)
        page.serve(request)

    web.pages["/0.mp4"].answer = for_content(beside_another)
    local = tmp_path / "local.mp4"
    local.write_bytes(b"here")
    urls = [web.url(f"/{number}.mp4") for number in range(12)]
    found = fetched(FetchedFiles(config(), {}), [*urls[:6], str(local), *urls[6:]])
    assert found == {str(local): b"here"} | {url: CONTENT + bytes([at]) for at, url in enumerate(urls)}
    assert list((tmp_path / "cache").iterdir()) == []
    assert local.exists()
    assert 1 < web.most_active <= 4


def test_local_files_need_no_cache(config: Config, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    unusable = config(cache_folder=tmp_path / "a.mp4" / "cache")
    assert fetched(FetchedFiles(unusable, {}), [str(tmp_path / "a.mp4")]) == {str(tmp_path / "a.mp4"): b"a"}
    assert fetched(FetchedFiles(unusable, {}), []) == {}
    with pytest.raises(OSError, match=r"a\.mp4"):
        FetchedFiles(unusable, {}).start(["http://127.0.0.1/a.mp4"])


@pytest.mark.slow
@pytest.mark.parametrize("known", ["known", "unknown", "too small", "too large"])
def test_the_cache_never_holds_more_than_it_may(web: Site, config: Config, tmp_path: Path, known: str) -> None:
    urls = []
    for number in range(10):
        web.pages[f"/{number}.mp4"] = Page(CONTENT)
        urls.append(web.url(f"/{number}.mp4"))
    sizes = {"known": len(CONTENT), "unknown": None, "too small": 1000, "too large": 2 * len(CONTENT)}[known]
    options = config(cache_bytes=3 * len(CONTENT), max_video_bytes=2 * len(CONTENT), downloads=8)
    files = FetchedFiles(options, dict.fromkeys(urls, sizes))
    files.start(urls)
    most = 0
    numbers = []
    while (ready := files.next_ready()) is not None:
        time.sleep(0.05)  # time is tested: the others may arrive meanwhile
        most = max(most, cached_bytes(tmp_path / "cache"))
        assert Path(ready.path).read_bytes() == CONTENT
        numbers.append(ready.number)
        files.release(ready.number)
    files.close()
    assert sorted(numbers) == list(range(10))
    assert len(CONTENT) <= most <= options.cache_bytes


@pytest.mark.slow
def test_faults_of_videos_are_theirs(web: Site, config: Config) -> None:
    web.pages |= {
        "/good.mp4": Page(CONTENT),
        "/denied.mp4": Page(CONTENT, always(403)),
        "/endless.mp4": Page(CONTENT, endless),
        "/slow.mp4": Page(CONTENT, dripping),
        "/failing.mp4": Page(CONTENT, always(503)),
        "/often.mp4": Page(CONTENT, first(1, always(500))),
    }
    names = [*web.pages, "/absent.mp4", "/large.mp4"]
    urls = {name: web.url(name) for name in names}
    options = config(max_video_bytes=MB, timeout_seconds=2)
    found = fetched(FetchedFiles(options, {urls["/large.mp4"]: 2 * MB}), list(urls.values()))
    assert found[urls["/good.mp4"]] == found[urls["/often.mp4"]] == CONTENT
    assert {name: reason(found[urls[name]]) for name in names if isinstance(found[urls[name]], Exception)} == {
        "/denied.mp4": FailureReason.UNREADABLE,
        "/endless.mp4": FailureReason.TOO_LARGE,
        "/slow.mp4": FailureReason.TIMEOUT,
        # The server has the others: this is about the one video.
        "/failing.mp4": FailureReason.UNREADABLE,
        "/absent.mp4": FailureReason.MISSING,
        "/large.mp4": FailureReason.TOO_LARGE,
    }
    assert "GET /large.mp4" not in web.requests


def test_a_service_that_fails_for_all_videos_is_no_fault_of_theirs(web: Site, config: Config) -> None:
    for number in range(3):
        web.pages[f"/{number}.mp4"] = Page(CONTENT, always(503))
    urls = [web.url(f"/{number}.mp4") for number in range(3)]
    files = FetchedFiles(config(retries=1), dict.fromkeys(urls))
    assert all(isinstance(each, InfrastructureError) for each in fetched(files, urls).values())
    # Throttling is a fault of nobody's video, whatever else the service serves.
    web.pages["/0.mp4"] = Page(CONTENT, for_content(always(429)))
    web.pages["/1.mp4"] = Page(CONTENT)
    found = fetched(FetchedFiles(config(retries=1), dict.fromkeys(urls)), urls[:2])
    assert found[urls[1]] == CONTENT
    assert isinstance(found[urls[0]], InfrastructureError)


def test_a_client_that_is_not_installed_ends_the_run_in_words(config: Config) -> None:
    dead, foreign = "http://127.0.0.1:1/a.mp4", "nosuch://bucket/b.mp4"
    files, found = FetchedFiles(config(retries=0), {}), {}
    files.start([dead, foreign])
    with ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            ready = pool.submit(files.next_ready).result(timeout=10)
            assert ready is not None
            found[ready.number] = ready.error
    files.close()
    # Nobody else can say whether the network works.
    assert isinstance(found[0], InfrastructureError)
    assert isinstance(found[1], UsageError)
    assert "nosuch" in str(found[1])
    assert all(affects_all_videos(error) for error in found.values() if error is not None)


def test_closing_ends_downloads_and_removes_what_they_wrote(web: Site, config: Config, tmp_path: Path) -> None:
    for number in range(6):
        web.pages[f"/{number}.mp4"] = Page(CONTENT, dripping if number else None)
    files = FetchedFiles(config(), {})
    files.start([web.url(f"/{number}.mp4") for number in range(6)])
    first_one = files.next_ready()
    assert first_one is not None
    assert first_one.number == 0
    waiting: list[ReadyFile | None] = []
    waiter = threading.Thread(target=lambda: waiting.append(files.next_ready()))
    waiter.start()
    started = time.monotonic()
    files.close()
    waiter.join(5)
    assert waiting == [None]
    assert time.monotonic() - started < 5
    assert list((tmp_path / "cache").iterdir()) == []
    files.release(0)
    wait_until(lambda: not [each for each in threading.enumerate() if each.name.startswith("fetch-")], 10)


def test_what_a_killed_run_left_is_removed_and_what_is_in_use_stays(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "cache"
    used, killed = CacheFolder(root), CacheFolder(root)
    killed.file(0, "https://host/a.mp4?x=1").write_bytes(b"half")
    killed._lock.release()  # as the system does when its process ends
    unlocked = root / "fetched-new"
    unlocked.mkdir()
    (root / "of the user").mkdir()
    CacheFolder(root).remove()
    assert {each.name for each in root.iterdir()} == {used.path.name, unlocked.name, "of the user"}
    monkeypatch.setattr(cache, "_UNLOCKED_SECONDS", -1.0)
    CacheFolder(root).remove()
    assert {each.name for each in root.iterdir()} == {used.path.name, "of the user"}
    used.remove()


def test_the_ending_of_a_video_is_kept_and_nothing_else_of_its_name(config: Config, tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path)
    assert folder.file(3, "s3://bucket/../a b;rm.MP4").name == "000003.MP4"
    assert folder.file(3, "https://host/watch?v=1").name == "000003"
    assert folder.file(3, "https://host/a.mjpeg?v=1.2").name == "000003.mjpeg"
    assert folder.file(3, "s3://bucket/what?.mjpeg").name == "000003.mjpeg"
    assert folder.file(3, "s3://bucket/a.$(oh)").name == "000003"
    folder.remove()


def test_a_full_disk_ends_the_run_in_words(
    web: Site, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.pages["/a.mp4"] = Page(CONTENT)
    files = FetchedFiles(config(), {})
    # A device on which every write fails for want of space.
    monkeypatch.setattr(CacheFolder, "file", lambda *_: FullFile(tmp_path / "cache" / "x" / "a.mp4"))
    found = fetched(files, [web.url("/a.mp4")])[web.url("/a.mp4")]
    assert isinstance(found, UnwritableError)
    assert found.errno == errno.ENOSPC
    assert f"The disk holding {tmp_path / 'cache'} is full" in str(found)
    assert "this video needs about 524.3 kB" in str(found)


class FullFile(type(Path())):  # type: ignore[misc]
    """A file on a disk without space: what is written goes to /dev/full."""

    def open(self, mode: str = "r") -> object:
        return open("/dev/full", mode, buffering=0)  # noqa: PTH123


def test_the_largest_video_has_to_fit() -> None:
    with pytest.raises(ValueError, match="must fit into the cache"):
        FetchConfig(cache_bytes=MB, max_video_bytes=2 * MB)
