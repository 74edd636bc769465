"""Requests that no browser of a well-meaning person makes."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest

from reeldex.search.page.live_index import video_key
from reeldex.search.page.problems import Problem
from reeldex.search.page.request_limits import TokenBucket
from reeldex.search.results import SearchResults
from tests.search.page.fixed_searcher import FixedSearcher, page_options, running_page
from tests.search.page.page_requests import get


def raw_get(page: httpx.Client, target: str, **headers: str) -> tuple[int, bytes]:
    """Ask for exactly this target: ordinary clients tidy it up first."""
    connection = http.client.HTTPConnection(page.base_url.host, page.base_url.port or 80, timeout=20)
    try:
        connection.putrequest("GET", target, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["videos", "static", "pictures", "segments", "api/playing"])
@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "..\\..\\etc\\passwd",
        "..%5cetc",
        "%00",
        "colours.mp4",
        "colours",
        "%c0%ae%c0%ae/etc/passwd",
        "file:/etc/passwd",
        "....//....//etc/passwd",
    ],
)
def test_no_path_of_a_request_reaches_the_disk(page: httpx.Client, place: str, path: str) -> None:
    status, body = raw_get(page, f"/{place}/{path}")
    assert status == 404
    assert b"root:" not in body
    assert json.loads(body)["error"]["status"] == 404


def test_the_path_of_a_real_video_is_not_served_either(page: httpx.Client, fixed_index: FixedSearcher) -> None:
    path = fixed_index.videos()["colours"].path
    for target in (
        path,
        f"/videos/{path}",
        f"/videos/{quote(path, safe='')}",
        f"/videos/{video_key('colours')}/../colours",
    ):
        assert raw_get(page, quote(target, safe="/%"))[0] == 404


@pytest.mark.parametrize(
    "target",
    [
        f"/pictures/{video_key('colours')}/-5.jpg",
        f"/pictures/{video_key('colours')}/1e9.jpg",
        f"/pictures/{video_key('colours')}/{'9' * 30}.jpg",
        f"/segments/{video_key('colours')}/transcode/-1.mp4",
        f"/segments/{video_key('colours')}/transcode/9999999.mp4",
        f"/segments/{video_key('colours')}/burned/0.mp4",
        f"/segments/{video_key('modern')}/remux/0.mp4",
        f"/segments/{video_key('colours')}/transcode/0;id.mp4",
    ],
)
def test_times_and_segments_that_are_none(page: httpx.Client, target: str) -> None:
    assert raw_get(page, target)[0] == 404


def test_a_picture_behind_the_end_is_not_there(page: httpx.Client) -> None:
    answer = page.get(f"/pictures/{video_key('colours')}/90000.jpg")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "unplayable")


@pytest.mark.parametrize("sign", ["\0", "\x1b", "\n", "\r", "\x7f", "\x85"])
def test_control_characters_are_refused(page: httpx.Client, sign: str) -> None:
    answer = page.get("/api/search", params={"q": f"red{sign}bowl"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "query_characters")


def test_long_queries_are_refused_at_every_length(page: httpx.Client) -> None:
    assert page.get("/api/search", params={"q": "bowl " + "x" * 395}).status_code == 200
    assert page.get("/api/search", params={"q": "x" * 401}).json()["error"]["code"] == "query_too_long"
    assert page.get("/api/search", params={"q": "x" * 9000}).status_code == 414
    assert raw_get(page, "/videos/" + "a" * 2000)[0] == 414


def test_other_methods_are_refused(page: httpx.Client) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = page.request(method, "/api/search?q=bowl")
        assert answer.status_code == 405
        assert "GET" in answer.headers["allow"]
        assert answer.json()["error"]["status"] == 405


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:80", "localhost@evil"]
)
def test_other_host_names_are_refused(page: httpx.Client, host: str) -> None:
    status, body = raw_get(page, "/api/search?q=bowl", Host=host)
    assert status == 421
    assert b"colours" not in body


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:8765"])
def test_the_names_of_loopback_are_answered(page: httpx.Client, host: str) -> None:
    assert raw_get(page, "/api/about", Host=host)[0] == 200


def test_pages_of_other_sites_get_nothing(page: httpx.Client) -> None:
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    assert page.get(f"/pictures/{video_key('colours')}/1000.jpg", headers=elsewhere).status_code == 403
    assert page.get("/api/search?q=bowl", headers=elsewhere).status_code == 403
    assert page.get("/?q=bowl", headers=elsewhere).status_code == 403
    link = {**elsewhere, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert page.get("/?q=bowl", headers=link).status_code == 200, "a link from elsewhere opens the page"
    assert page.get("/api/search?q=bowl", headers=link).status_code == 403
    for origin in ("null", "http://evil.example", str(page.base_url).replace("127.0.0.1", "localhost")):
        assert page.get("/api/about", headers={"Origin": origin}).status_code == 403


@pytest.mark.parametrize(
    "target", ["/", "/static/page.js", "/api/about", "/nothing", f"/videos/{video_key('colours')}"]
)
def test_every_answer_keeps_the_browser_to_this_server(page: httpx.Client, target: str) -> None:
    headers = page.get(target).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


class WaitingSearcher(FixedSearcher):
    """Answers only when it is let."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.let = threading.Event()

    def search(self, sentence: str, *_: object, **__: object) -> SearchResults:
        assert self.let.wait(30)
        return SearchResults((), (), sentence)


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[tuple[WaitingSearcher, str]]:
    searcher = WaitingSearcher()
    with running_page(searcher, page_options(tmp_path, simultaneous_requests=10)) as address:
        yield searcher, address
        searcher.let.set()


@pytest.mark.slow
def test_of_200_requests_at_once_those_above_the_limit_are_asked_to_come_back(
    waiting: tuple[WaitingSearcher, str],
) -> None:
    searcher, address = waiting
    busy = threading.Semaphore(0)

    def ask(_: int) -> httpx.Response:
        answer = get(f"{address}/api/search?q=bowl", timeout=60)
        if answer.status_code == 503:
            busy.release()
        return answer

    with concurrent.futures.ThreadPoolExecutor(200) as pool:
        asked = pool.map(ask, range(200))
        for _ in range(190):
            assert busy.acquire(timeout=60)
        searcher.let.set()
        answers = list(asked)
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [503] * 190
    refused = [answer for answer in answers if answer.status_code == 503]
    assert all(answer.headers["retry-after"] == "2" for answer in refused)
    assert get(f"{address}/api/about").status_code == 200, "it goes on afterwards"


def test_too_many_searches_in_a_row_are_asked_to_wait(fixed_index: FixedSearcher, tmp_path: Path) -> None:
    with running_page(fixed_index, page_options(tmp_path, searches_per_second=0.001, searches_at_once=3)) as address:
        answers = [get(f"{address}/api/search?q=bowl") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].headers["retry-after"] == "2"


def test_the_rate_refills_with_time() -> None:
    now = [0.0]
    rate = TokenBucket(2.0, 3, clock=lambda: now[0])
    for _ in range(3):
        rate.take()
    with pytest.raises(Problem):
        rate.take()
    now[0] = 0.5
    rate.take()
    with pytest.raises(Problem):
        rate.take()
    now[0] = 1000.0
    for _ in range(3):
        rate.take()
    with pytest.raises(Problem):
        rate.take()


def test_nonsense_instead_of_http_does_no_harm(page: httpx.Client) -> None:
    address = urlsplit(str(page.base_url))
    for nonsense in (b"\0\1\2\3\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 2_000_000):
        with (
            contextlib.suppress(ConnectionError),  # it may be cut off before it has read the answer
            socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as connection,
        ):
            connection.sendall(nonsense)
            assert b" 200 " not in connection.recv(4096)[:20]
    assert page.get("/api/about").status_code == 200
