"""A part of a video is never taken for the whole of it, whatever a server leaves unsaid."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from reeldex.flows.fetching.download import Download
from reeldex.flows.fetching.faults import FetchError
from reeldex.flows.fetching.looking import content_of
from reeldex.flows.fetching.services import Services
from tests.flows.fetching.conftest import Config
from tests.flows.fetching.test_download import CONTENT, Fetch, fetch
from tests.flows.fetching.web_server import Page, Request, Site, first

__all__ = ["fetch"]


def without_length(request: Request, page: Page, *, parts: int = 1, pause_seconds: float = 0.0) -> None:
    """Send content whose end only the end of the connection marks."""
    request.close_connection = True
    request.head(200, connection="close")
    size = len(page.content) // parts
    for at in range(parts if request.wants_body else 0):
        request.wfile.write(page.content[at * size : (at + 1) * size])
        request.wfile.flush()
        time.sleep(pause_seconds)  # time is tested: of a slow server


@pytest.mark.slow
def test_the_time_limit_does_not_end_a_video_without_a_length(web: Site, config: Config, fetch: Fetch) -> None:
    def slow(request: Request, page: Page) -> None:
        without_length(request, page, parts=2, pause_seconds=3.0)

    web.pages["/a.mp4"] = Page(CONTENT, without_length)
    assert fetch(web.url("/a.mp4"), config()) == CONTENT
    web.pages["/b.mp4"] = Page(CONTENT, slow)
    with pytest.raises(FetchError, match="not fetched in time"):
        fetch(web.url("/b.mp4"), config(timeout_seconds=1.0))
    web.pages["/list.txt"] = Page(CONTENT, slow)
    services = Services(config(timeout_seconds=1.0, retries=0))
    with pytest.raises(Exception, match=r"nothing arrived for a while"):
        content_of(web.url("/list.txt"), services, 1 << 30)


def test_a_connection_that_ends_early_is_no_end_where_the_plan_knows_the_size(
    web: Site, config: Config, tmp_path: Path
) -> None:
    cut = Page(CONTENT[:-1000], without_length)
    web.pages["/a.mp4"] = Page(CONTENT, first(1, lambda request, _: without_length(request, cut)))
    services, url, target = Services(config()), web.url("/a.mp4"), tmp_path / "a.mp4"
    Download(services.of(url), url, target, 1 << 30, 1 << 30, services.patience(url), len(CONTENT)).run()
    assert target.read_bytes() == CONTENT


def test_a_rest_of_unknown_length_has_to_reach_the_known_one(web: Site, config: Config, fetch: Fetch) -> None:
    def answer(request: Request, page: Page) -> None:
        if page.attempts == 1:
            page.serve(request, stop_after=400_000)
            return
        start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
        end = start + 100_000 if page.attempts == 2 else len(page.content)
        part = page.content[start:end]
        about = {"content_range": f"bytes {start}-{start + len(part) - 1}/*"}
        request.head(206, content_length=len(part), **about, **page.headers)
        request.wfile.write(part)

    web.pages["/a.mp4"] = Page(CONTENT, answer)
    assert fetch(web.url("/a.mp4"), config()) == CONTENT


def test_what_cannot_be_told_apart_is_not_put_together(web: Site, config: Config, fetch: Fetch) -> None:
    def answer(request: Request, page: Page) -> None:
        if page.attempts == 1:
            page.serve(request, stop_after=400_000)
            page.content = CONTENT[::-1]  # of the same length
        else:
            page.serve(request)

    web.pages["/a.mp4"] = Page(CONTENT, answer, etag=None)
    assert fetch(web.url("/a.mp4"), config()) == CONTENT[::-1]
