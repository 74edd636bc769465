"""What the page answers, over HTTP."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import httpx
import pytest

from reeldex.embedding.errors import CheckpointError
from reeldex.search.errors import IndexBusyError, IndexDamagedError, IndexMismatchError
from reeldex.search.page.live_index import video_key
from tests.search.page.fixed_searcher import FixedSearcher, page_options, running_page
from tests.search.page.page_requests import get


@pytest.mark.slow
def test_a_sentence_is_answered_with_moments_and_the_words_that_did_not_count(page: httpx.Client) -> None:
    answer = page.get("/api/search", params={"q": "a red zebra"}).raise_for_status().json()
    first = answer["moments"][0]
    assert first == {
        "video": video_key("colours"),
        "name": "colours",
        "start_seconds": 4.0,
        "end_seconds": 12.0,
        "score": 0.9,
        "caption": "a red bowl of paint",
        "duration_seconds": 30.0,
        "playable": True,
    }
    assert answer["unknown_words"] == ["zebra"]
    assert answer["query"] == "a red zebra"


def test_number_merging_and_one_video_are_passed_on(page: httpx.Client, fixed_index: FixedSearcher) -> None:
    params = {"q": "bowl", "k": "3", "merge": "0", "in": video_key("old film")}
    answer = page.get("/api/search", params=params).raise_for_status().json()
    assert fixed_index.asked[-1] == ("bowl", 3, False, "old film")
    assert {each["name"] for each in answer["moments"]} == {"old film"}


def test_an_id_with_signs_of_patterns_is_that_one_video(fixed_index: FixedSearcher, tmp_path: Path) -> None:
    moment = fixed_index.moments[0]
    odd = [dataclasses.replace(moment, video_id=name) for name in ("take [1]*", "take 1", "take 1 again")]
    videos = [dataclasses.replace(fixed_index.videos()["colours"], video_id=each.video_id) for each in odd]
    with running_page(FixedSearcher(videos, odd), page_options(tmp_path)) as address:
        params = {"q": "bowl", "in": video_key("take [1]*")}
        answer = get(f"{address}/api/search", params=params).json()
    assert [each["name"] for each in answer["moments"]] == ["take [1]*"]


def test_more_like_a_moment(page: httpx.Client, fixed_index: FixedSearcher) -> None:
    params = {"video": video_key("old film"), "at": "16"}
    answer = page.get("/api/like", params=params).raise_for_status().json()
    assert fixed_index.asked[-1][0] == "old film@16"
    assert ("old film", 12.0) not in {(each["name"], each["start_seconds"]) for each in answer["moments"]}
    assert len(answer["moments"]) == len(fixed_index.moments) - 1


def test_a_video_at_a_url_is_found_and_not_played(fixed_index: FixedSearcher, tmp_path: Path) -> None:
    video = dataclasses.replace(fixed_index.videos()["colours"], path="s3://lab/colours.mp4")
    moments = [each for each in fixed_index.moments if each.video_id == "colours"]
    with running_page(FixedSearcher([video], moments), page_options(tmp_path)) as address:
        answer = get(f"{address}/api/search?q=bowl").json()
        assert {each["playable"] for each in answer["moments"]} == {False}
        key = video_key("colours")
        media = [f"/videos/{key}", f"/pictures/{key}/1000.jpg", f"/api/playing/{key}", f"/segments/{key}/remux/0.mp4"]
        for each in media:
            refused = get(address + each)
            assert refused.status_code == 404
            assert "This video is at a URL" in refused.json()["error"]["message"], each


def test_what_the_index_holds_is_said(page: httpx.Client) -> None:
    assert page.get("/api/about").json() == {"moments": 8, "videos": 6, "stale": ""}


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("/api/search", 400, "query_empty"),
        ("/api/search?q=%20%20", 400, "query_empty"),
        ("/api/search?q=unheard", 422, "unknown_words"),
        ("/api/search?q=bowl&k=0", 400, "k"),
        ("/api/search?q=bowl&k=101", 400, "k"),
        ("/api/search?q=bowl&k=1e1", 400, "k"),
        ("/api/search?q=bowl&merge=perhaps", 400, "merge"),
        ("/api/search?q=bowl&in=nothing", 404, "not_found"),
        ("/api/like?video=nothing&at=1", 404, "not_found"),
        (f"/api/like?video={video_key('colours')}", 400, "at"),
        (f"/api/like?video={video_key('colours')}&at=nan", 400, "at"),
        (f"/api/like?video={video_key('colours')}&at=-1", 400, "at"),
        (f"/api/like?video={video_key('colours')}&at=1e300", 400, "at"),
        ("/somewhere", 404, "not_found"),
    ],
)
def test_errors_are_returned_as_json(page: httpx.Client, address: str, status: int, code: str) -> None:
    answer = page.get(address)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["status"], error["code"]) == (status, code)
    assert error["message"].endswith(".")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (IndexBusyError("The index is being built. Try again in a moment."), 503),
        (IndexMismatchError("The index was built with another checkpoint. Build it again."), 500),
        (CheckpointError("The checkpoint is gone. Say where it lies now."), 500),
        (ZeroDivisionError("a secret"), 500),
    ],
)
def test_errors_of_the_index_have_a_status(
    fixed_index: FixedSearcher, tmp_path: Path, error: Exception, status: int
) -> None:
    searcher = FixedSearcher(list(fixed_index.videos().values()), fixed_index.moments)
    searcher.broken = error
    with running_page(searcher, page_options(tmp_path)) as address:
        answer = get(f"{address}/api/search?q=bowl")
    assert answer.status_code == status
    assert ("retry-after" in answer.headers) == (status == 503)
    assert "nosniff" in answer.headers["x-content-type-options"]
    said = answer.json()["error"]["message"]
    assert "secret" not in said
    assert said == str(error) or isinstance(error, ZeroDivisionError)


def test_a_rebuilt_index_answers_without_a_restart(fixed_index: FixedSearcher, tmp_path: Path) -> None:
    old = FixedSearcher(list(fixed_index.videos().values()), fixed_index.moments)
    with running_page(old, page_options(tmp_path, refresh_seconds=0.001)) as address:
        assert get(f"{address}/api/about").json()["moments"] == 8
        old.newer = FixedSearcher([fixed_index.videos()["modern"]], [fixed_index.moments[5]])
        assert get(f"{address}/api/about").json()["moments"] == 1
        assert get(f"{address}/videos/{video_key('modern')}").status_code == 200
        assert get(f"{address}/videos/{video_key('colours')}").status_code == 404


@pytest.mark.parametrize(
    "error",
    [
        IndexDamagedError("index.json is damaged. Build the index again."),
        CheckpointError("The checkpoint is gone. Say where it lies now."),
        PermissionError(13, "Permission denied"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_new_index_that_cannot_be_opened_leaves_the_old_one_and_says_so(
    fixed_index: FixedSearcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    searcher = FixedSearcher(list(fixed_index.videos().values()), fixed_index.moments)
    with running_page(searcher, page_options(tmp_path, refresh_seconds=0.001)) as address:

        def broken() -> FixedSearcher:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(searcher, "refreshed", broken)
            answer = get(f"{address}/api/search?q=bowl").json()
            assert answer["stale"] == str(error)
            assert len(answer["moments"]) == 7
        assert get(f"{address}/api/search?q=bowl").json()["stale"] == ""
