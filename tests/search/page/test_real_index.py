"""The page over an index as it is built from a store, with its own checkpoint and words."""

from __future__ import annotations

from pathlib import Path

import pytest

from reeldex.search.index import SearchIndex
from reeldex.search.page.live_index import video_key
from tests.search.library import Library, make_library
from tests.search.page.fixed_searcher import make_colours, page_options, running_page
from tests.search.page.page_requests import client_of
from tests.search.page.test_media import is_colour_of, pixel

_NAMES = ("kitchen/colours [1].mp4", "old film.avi")


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = make_library(tmp_path, dict.fromkeys(_NAMES, 30.0))
    make_colours(library.folder / "videos" / _NAMES[0], "-c:v", "libx264")
    make_colours(library.folder / "videos" / _NAMES[1], "-c:v", "mpeg4", "-q:v", "2")
    library.build()
    return library


@pytest.mark.slow
def test_an_index_is_searched_shown_played_and_refreshed(library: Library) -> None:
    options = page_options(library.folder / "cache", refresh_seconds=0.001)
    with (
        SearchIndex.open(library.folder / "index") as index,
        running_page(index, options) as address,
        client_of(address) as page,
    ):
        assert page.get("/api/about").json()["videos"] == 2
        answer = page.get("/api/search", params={"q": "chop the zebra"}).raise_for_status().json()
        assert answer["unknown_words"] == ["zebra"]
        assert [moment["score"] for moment in answer["moments"]] == pytest.approx(
            [moment.score for moment in index.search("chop the zebra", 24)], abs=1e-4
        )
        for moment in answer["moments"][:3]:
            second = int(moment["start_seconds"]) + 1
            picture = page.get(f"/pictures/{moment['video']}/{second}500.jpg").raise_for_status()
            assert is_colour_of(second, pixel(picture.content))
        key = video_key(_NAMES[0])
        within = page.get("/api/search", params={"q": "onion", "in": key}).raise_for_status().json()
        assert {moment["name"] for moment in within["moments"]} == {_NAMES[0]}, "its id holds signs of patterns"
        assert page.get(f"/videos/{key}", headers={"Range": "bytes=4-7"}).content == b"ftyp"
        assert page.get(f"/api/playing/{video_key(_NAMES[1])}").json()["deliveries"] == ["transcode"]

        like = page.get("/api/like", params={"video": key, "at": "12.5"}).raise_for_status().json()
        assert not any(
            moment["video"] == key and moment["start_seconds"] <= 12.5 < moment["end_seconds"]
            for moment in like["moments"]
        )
        for target in ("/api/search?q=zebra", f"/api/like?video={key}&at=99"):
            assert page.get(target).status_code == 422

        library.add({"later.mp4": 12.0})
        library.build()
        assert page.get("/api/about").json() == {
            "moments": SearchIndex.open(library.folder / "index").about().moments,
            "videos": 3,
            "stale": "",
        }
        (library.folder / "index" / "index.json").write_text("{")
        stale = page.get("/api/search?q=onion").raise_for_status().json()
        assert stale["moments"]
        assert stale["stale"]
