"""One video from a web server: completely, or an outcome that says why not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reeldex.errors import InfrastructureError, UsageError
from reeldex.extractors.errors import FailureReason
from reeldex.flows.config.fetching import FetchConfig
from reeldex.flows.fetching.download import Download
from reeldex.flows.fetching.faults import FetchError, ServiceFault
from reeldex.flows.fetching.services import Services
from reeldex.flows.fetching.witnesses import Witnesses
from tests.flows.fetching.conftest import Config
from tests.flows.fetching.web_server import (
    Answer,
    Page,
    Request,
    Site,
    always,
    cut_after,
    dripping,
    dripping_headers,
    endless,
    first,
    for_content,
    silent,
)

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[..., bytes]:
    """Fetch a URL, and return what arrived."""

    def run(url: str, config: FetchConfig, room: int = 1 << 30) -> bytes:
        services = Services(config)
        target = tmp_path / "target.mp4"
        try:
            size = Download(services.of(url), url, target, room, config.max_video_bytes, services.patience(url)).run()
        except ServiceFault as fault:
            raise services.judged(url, fault, Witnesses()) from fault
        content = target.read_bytes()
        assert len(content) == size
        return content

    return run


Fetch = Callable[..., bytes]


def test_a_video_arrives_as_it_is(web: Site, config: Config, fetch: Fetch) -> None:
    web.pages["/a.mp4"] = Page(CONTENT)
    assert fetch(web.url("/a.mp4"), config()) == CONTENT
    assert web.requests == ["GET /a.mp4"]
    assert web.seen[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("etag", ["", None], ids=["tag", "no tag"])
def test_a_download_that_is_cut_goes_on_where_it_stopped(
    web: Site, config: Config, fetch: Fetch, *, ranges: bool, etag: str | None
) -> None:
    web.pages["/a.mp4"] = Page(CONTENT, first(2, cut_after(400_000)), etag=etag, ranges=ranges)
    assert fetch(web.url("/a.mp4"), config()) == CONTENT
    gets = web.gets("/a.mp4")
    assert len(gets) == 3
    # Of a file without a tag, nothing says that a rest belongs to what has arrived.
    assert gets[1].startswith("GET /a.mp4 bytes=") == (etag is not None)
    assert gets[0] == "GET /a.mp4"


def test_a_file_that_changes_meanwhile_is_fetched_again_from_its_start(web: Site, config: Config, fetch: Fetch) -> None:
    new = CONTENT[::-1]
    page = Page(CONTENT)

    def change(request: Request, found: Page) -> None:
        if found.attempts == 1:
            found.serve(request, stop_after=400_000)
            found.content = new
        else:
            found.serve(request)

    page.answer = change
    web.pages["/a.mp4"] = page
    assert fetch(web.url("/a.mp4"), config()) == new


def test_progress_renews_the_attempts_and_its_absence_does_not(web: Site, config: Config, fetch: Fetch) -> None:
    web.pages["/slow.mp4"] = Page(CONTENT, first(10, cut_after(100_000)))
    assert fetch(web.url("/slow.mp4"), config(retries=1)) == CONTENT
    # Content-Length promises more than ever comes.
    web.pages["/lie.mp4"] = Page(CONTENT, for_content(cut_after(100_000)), ranges=False)
    with pytest.raises(FetchError, match=r"cut short 4 times.*; 100,000 of 1,048,576 bytes arrived") as raised:
        fetch(web.url("/lie.mp4"), config())
    assert raised.value.reason is FailureReason.UNREADABLE
    assert len(web.gets("/lie.mp4")) == 4


def chunked(*, ends: bool) -> Answer:
    def answer(request: Request, page: Page) -> None:
        request.head(200, transfer_encoding="chunked")
        if request.wants_body:
            request.wfile.write(b"%x\r\n%s\r\n" % (len(page.content), page.content))
            request.wfile.write(b"0\r\n\r\n" if ends else b"")
            request.cut()

    return answer


def test_content_without_a_length_is_complete_when_it_says_so(web: Site, config: Config, fetch: Fetch) -> None:
    web.pages["/a.mp4"] = Page(CONTENT, chunked(ends=True))
    assert fetch(web.url("/a.mp4"), config()) == CONTENT
    web.pages["/b.mp4"] = Page(CONTENT, chunked(ends=False))
    with pytest.raises(FetchError, match="cut short"):
        fetch(web.url("/b.mp4"), config(retries=1))


REFUSED: dict[str, tuple[Answer, FailureReason, str]] = {
    "404": (always(404), FailureReason.MISSING, "answers 404 Not Found"),
    "410": (always(410), FailureReason.MISSING, "answers 410"),
    "403": (always(403), FailureReason.UNREADABLE, r"access is denied: .* 403 .*netrc"),
    "401": (always(401, www_authenticate="Basic"), FailureReason.UNREADABLE, "access is denied"),
    "418": (always(418), FailureReason.UNREADABLE, "answers 418"),
    "204": (always(204), FailureReason.UNREADABLE, "answers 204"),
    "compressed": (
        lambda request, _: request.empty(200, content_encoding="gzip"),
        FailureReason.UNREADABLE,
        "compressed",
    ),
    "redirected for ever": (always(302, location="/a.mp4"), FailureReason.UNREADABLE, "redirects more than 10 times"),
    "redirected to a file": (always(302, location="file:///etc/passwd"), FailureReason.UNREADABLE, "not of the web"),
    "redirected to ftp": (always(301, location="ftp://127.0.0.1/a"), FailureReason.UNREADABLE, "not of the web"),
    "redirected to nonsense": (always(302, location="http://host:oh/"), FailureReason.UNREADABLE, "invalid address"),
    "endless": (endless, FailureReason.TOO_LARGE, r"After 3\.[01] MB the video has not ended, the limit is 3\.0 MB"),
    "large": (always(200, content_length=4_000_000), FailureReason.TOO_LARGE, r"has 4\.0 MB, the limit is 3\.0 MB"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_server_does_to_one_video_is_the_outcome_of_that_video(
    web: Site, config: Config, fetch: Fetch, name: str
) -> None:
    answer, reason, message = REFUSED[name]
    web.pages["/a.mp4"] = Page(CONTENT, answer)
    if name == "large":
        web.pages["/a.mp4"] = Page(bytes(4_000_000))
    with pytest.raises(FetchError, match=message) as raised:
        fetch(web.url("/a.mp4"), config(max_video_bytes=3_000_000))
    assert raised.value.reason is reason


@pytest.mark.slow
@pytest.mark.parametrize("answer", [dripping, silent, dripping_headers])
def test_the_time_limit_holds_whatever_the_server_sends(
    web: Site, config: Config, fetch: Fetch, answer: Answer
) -> None:
    web.pages["/a.mp4"] = Page(CONTENT, answer)
    started = time.monotonic()
    with pytest.raises(FetchError, match=r"not fetched in time: .* Raise fetch\.timeout_seconds") as raised:
        fetch(web.url("/a.mp4"), config(timeout_seconds=1.5))
    assert raised.value.reason is FailureReason.TIMEOUT
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
def test_a_service_that_fails_is_asked_again(web: Site, config: Config, fetch: Fetch, status: int) -> None:
    web.pages["/a.mp4"] = Page(CONTENT, first(2, always(status)))
    assert fetch(web.url("/a.mp4"), config()) == CONTENT
    web.pages["/b.mp4"] = Page(CONTENT, always(status))
    with pytest.raises(InfrastructureError, match=f"b.mp4 cannot be fetched: the server answers {status}"):
        fetch(web.url("/b.mp4"), config())
    assert len(web.gets("/b.mp4")) == 4


@pytest.mark.slow
def test_a_service_is_not_asked_earlier_than_it_says(web: Site, config: Config, fetch: Fetch) -> None:
    web.pages["/a.mp4"] = Page(CONTENT, first(1, always(503, retry_after=1)))
    started = time.monotonic()
    assert fetch(web.url("/a.mp4"), config()) == CONTENT
    assert time.monotonic() - started >= 1
    # Not later than the time limit either.
    web.pages["/b.mp4"] = Page(CONTENT, always(429, retry_after=3600))
    started = time.monotonic()
    with pytest.raises(InfrastructureError, match="429"):
        fetch(web.url("/b.mp4"), config())
    assert time.monotonic() - started < 2


def test_a_host_that_refuses_connections_is_a_fault_of_the_service(config: Config, fetch: Fetch) -> None:
    with pytest.raises(InfrastructureError, match=r"127\.0\.0\.1 cannot be reached: Connection refused"):
        fetch("http://127.0.0.1:1/a.mp4", config())
    with pytest.raises(InfrastructureError, match=r"no-such-host\.invalid cannot be reached"):
        fetch("http://no-such-host.invalid/a.mp4", config(retries=1))


def test_redirects_are_followed_and_only_to_hosts_that_are_admitted(web: Site, config: Config, fetch: Fetch) -> None:
    web.pages["/b.mp4"] = Page(CONTENT)
    web.pages["/a.mp4"] = Page(b"", always(302, location=web.url("/b.mp4", host="localhost")))
    url = web.url("/a.mp4")
    assert fetch(url, config()) == CONTENT
    assert fetch(url, config(hosts=["127.0.0.1", "localhost"])) == CONTENT
    with pytest.raises(FetchError, match=r"its host localhost is not one of fetch\.hosts"):
        fetch(url, config(hosts=["127.0.0.1"]))
    with pytest.raises(FetchError, match=r"127\.0\.0\.1 is not one of"):
        fetch(url, config(hosts=["example.org"]))
    assert FetchConfig(hosts=(".example.org",)).admits_host("a.b.EXAMPLE.org")
    assert not FetchConfig(hosts=(".example.org",)).admits_host("example.org.evil.net")


def test_credentials_come_from_netrc_for_their_host_alone(
    web: Site, config: Config, fetch: Fetch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password pa55\n", encoding="utf-8")
    web.pages["/b.mp4"] = Page(CONTENT)
    web.pages["/a.mp4"] = Page(b"", always(302, location=web.url("/b.mp4", host="localhost")))
    assert fetch(web.url("/a.mp4"), config()) == CONTENT
    assert web.seen[0]["Authorization"].startswith("Basic ")
    assert "Authorization" not in web.seen[1]


@pytest.mark.parametrize(
    "written", ["machine h pa55\n", "machine h login me password x\npa55\n", "machine h login \xff"]
)
def test_an_invalid_netrc_is_refused_without_showing_its_words(
    web: Site, config: Config, fetch: Fetch, tmp_path: Path, written: str
) -> None:
    (tmp_path / "netrc").write_bytes(written.encode("latin-1"))
    with pytest.raises(UsageError, match=r"netrc cannot be read: .* Correct the file") as raised:
        fetch(web.url("/a.mp4"), config())
    assert "pa55" not in str(raised.value)


def test_what_redirects_lead_to_is_not_logged(
    web: Site, config: Config, fetch: Fetch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    web.pages["/b.mp4?X-Amz-Signature=5ecret"] = Page(CONTENT, first(1, always(503)))
    web.pages["/a.mp4"] = Page(b"", always(302, location=web.url("/b.mp4?X-Amz-Signature=5ecret")))
    assert fetch(web.url("/a.mp4"), config()) == CONTENT
    web.pages["/b.mp4?X-Amz-Signature=5ecret"].answer = always(403)
    with pytest.raises(FetchError) as raised:
        fetch(web.url("/a.mp4"), config())
    assert "5ecret" not in caplog.text + str(raised.value)
    assert "Trying again" in caplog.text
