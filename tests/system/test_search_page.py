"""What a person does on the search page, done in a real browser over real videos whose colour tells the second."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reeldex.search.errors import IndexDamagedError
from tests.search.page.fixed_searcher import FixedSearcher, colour_at, make_fixed_index, page_options, running_page
from tests.system.browsers import chromium, needs_browser
from tests.system.search_page import SearchPage, search_page
from tests.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = needs_browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> FixedSearcher:
    return make_fixed_index(tmp_path_factory.mktemp("page videos"))


@pytest.fixture(scope="module")
def address(searcher: FixedSearcher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_page(searcher, page_options(tmp_path_factory.mktemp("cache"))) as address:
        yield address


@pytest.fixture
def ui(browser: Browser, address: str) -> Iterator[SearchPage]:
    with search_page(browser, address) as ui:
        ui.go()
        yield ui
        assert ui.outside == [], "no request leaves the page's own origin"
        assert ui.faults == []


def require_picture(ui: SearchPage, seconds: float) -> None:
    """Wait until the player, stopped at a time, shows the picture of that second."""
    ui.stand_at(seconds)

    def differences() -> list[int]:
        return [abs(one - other) for one, other in zip(colour_at(int(seconds)), ui.colour(), strict=True)]

    wait_until(lambda: max(differences()) <= 8, 20, details=lambda: f"{seconds} s: {differences()}")


def test_a_sentence_leads_to_the_second_it_is_about(ui: SearchPage) -> None:
    ui.page.get_by_role("heading", name="Search your videos").wait_for()
    ui.search("a red zebra bowl")
    assert ui.names()[0] == "colours"
    first = ui.cards.first
    assert first.locator(".span").inner_text() == "0:04 \N{EN DASH} 0:12"
    assert first.locator(".caption").inner_text() == "a red bowl of paint"
    assert first.locator(".score").inner_text() == "0.90"
    ui.page.wait_for_function("() => document.querySelector('.card img').naturalWidth === 480")
    assert "“zebra” is not in the vocabulary and was ignored." in ui.page.locator("#notice").inner_text()

    first.locator(".open").click()
    ui.until_playing()
    assert ui.delivery() == "file"
    assert 4 <= ui.second() < 6.5
    for second in (4.5, 11.5, 29.5):
        require_picture(ui, second)


@pytest.mark.parametrize(
    ("name", "begins", "delivery"),
    [("old film", 12, "transcode"), ("modern", 17, "transcode"), ("wrapped", 13, "file")],
)
def test_other_formats_play_from_the_right_second_too(ui: SearchPage, name: str, begins: int, delivery: str) -> None:
    ui.search("bowl")
    ui.open_card(name)
    ui.until_playing()
    # Browsers differ in what they can play; Debian's plays H.264 in Matroska and neither MPEG-4 part 2 nor HEVC.
    assert ui.delivery() == delivery
    assert begins <= ui.second() < begins + 3
    duration = ui.page.evaluate("document.getElementById('video').duration")
    assert duration == pytest.approx(30, abs=0.15), "the time line is the whole video's"
    # Across the joints of segments, back to the beginning, and on to the end.
    for second in (begins + 0.5, 19.5, 20.5, 1.5, 9.5, 10.5, 28.5):
        require_picture(ui, second)


def test_a_format_whose_container_alone_is_unknown_is_put_into_another_one(ui: SearchPage) -> None:
    ui.page.route("**/videos/*", lambda route: route.abort())  # as a browser without Matroska sees it
    ui.search("wrapped")
    ui.open_card("wrapped")
    ui.until_playing()
    assert ui.delivery() == "remux"
    assert 13 <= ui.second() < 16
    for second in (13.5, 20.5, 2.5, 12.5, 28.5):
        require_picture(ui, second)


def test_segments_play_on_over_their_joint_without_a_stop(ui: SearchPage) -> None:
    ui.search("old")
    ui.open_card("old film", 1)  # 0:02 to 0:08
    ui.until_playing()
    ui.page.evaluate("document.getElementById('video').currentTime = 8.8")
    ui.page.wait_for_function("() => document.getElementById('video').currentTime > 10.8", timeout=60_000)
    require_picture(ui, int(ui.second()) + 0.5)  # pictures of a segment may be some hundredths early or late


def test_the_timeline_shows_the_other_hits_and_jumps_to_them(ui: SearchPage, searcher: FixedSearcher) -> None:
    ui.search("bowl paint")
    ui.open_card("colours", 1)  # 0:18 to 0:26
    ui.until_playing()
    hits = ui.page.locator(".hit")
    hits.nth(1).wait_for()
    assert searcher.asked[-1][3] == "colours"
    assert ui.page.locator("#player-hits").inner_text() == "2 hits"
    track = ui.page.locator("#track").bounding_box()
    assert track is not None
    for number, (begin, end) in enumerate([(4, 12), (18, 26)]):
        box = hits.nth(number).bounding_box()
        assert box is not None
        assert box["x"] == pytest.approx(track["x"] + track["width"] * begin / 30, abs=2)
        assert box["width"] == pytest.approx(track["width"] * (end - begin) / 30, abs=3)

    hits.first.click()
    ui.until_playing()
    assert 4 <= ui.second() < 6.5
    assert ui.page.locator("#player-caption").inner_text() == "a red bowl of paint"
    ui.page.keyboard.press("n")
    ui.page.wait_for_function("() => document.getElementById('video').currentTime >= 18")
    ui.page.locator("#next-hit:disabled").wait_for()
    ui.page.get_by_role("button", name="Previous hit").click()
    ui.page.wait_for_function("() => document.getElementById('video').currentTime < 18")
    ui.page.mouse.click(track["x"] + track["width"] * 0.9, track["y"] + track["height"] / 2)
    ui.page.wait_for_function("() => document.getElementById('video').currentTime > 26.5")


def test_more_like_this(ui: SearchPage, searcher: FixedSearcher) -> None:
    ui.search("paint")
    ui.cards.nth(1).get_by_role("link", name="More like").click()
    ui.page.get_by_text("moments like").wait_for()
    assert searcher.asked[-1][0] == "old film@5"
    assert ui.page.locator("#status strong").inner_text() == "old film"
    assert len(ui.names()) == len(searcher.moments) - 1
    ui.open_card("modern")
    ui.until_playing()
    ui.page.locator("#player").get_by_role("link", name="More like this").click()
    ui.page.wait_for_url(re.compile("name=modern"))
    assert not ui.page.locator("#player").is_visible()


def test_back_and_forward_and_links_lead_where_they_were(ui: SearchPage) -> None:
    ui.search("red")
    ui.search("modern")
    ui.open_card("modern")
    ui.until_playing()
    link = ui.page.url
    ui.page.go_back()
    ui.page.locator("#player").wait_for(state="hidden")
    assert ui.names() == ["modern"]
    ui.page.go_back()
    ui.answered()
    assert ui.page.get_by_role("searchbox").input_value() == "red"
    assert ui.names() == ["colours"]
    ui.page.go_forward()
    ui.answered()
    assert ui.names() == ["modern"]
    ui.page.goto(link)
    ui.page.locator("#player").wait_for()
    ui.page.wait_for_function("() => document.getElementById('video').currentTime >= 17")


def test_the_keyboard_is_enough(ui: SearchPage) -> None:
    press = ui.page.keyboard.press
    ui.page.locator("main").click()
    press("/")
    ui.page.keyboard.type("bowl")
    press("Enter")
    ui.answered()
    press("ArrowDown")
    press("ArrowRight")
    press("ArrowRight")
    press("ArrowLeft")
    focused = "document.activeElement.closest('.card')?.querySelector('.span').textContent"
    assert ui.page.evaluate(focused) == "0:18 \N{EN DASH} 0:26"
    press("End")
    assert ui.page.evaluate(focused) == "0:03 \N{EN DASH} 0:09", "the last that can be played"
    press("Home")
    press("ArrowDown")
    columns = ui.page.evaluate(
        "getComputedStyle(document.getElementById('results')).gridTemplateColumns.split(' ').length"
    )
    assert ui.page.evaluate("[...document.querySelectorAll('.open')].indexOf(document.activeElement)") == columns
    press("ArrowUp")
    press("Enter")
    ui.until_playing()
    press("Escape")
    ui.page.locator("#player").wait_for(state="hidden")
    assert ui.page.evaluate(focused) == "0:04 \N{EN DASH} 0:12", "the focus comes back to where it was"
    press("Tab")
    press("Enter")  # More like this
    ui.page.get_by_text("moments like").wait_for()
    press("/")
    assert ui.page.evaluate("document.activeElement.id") == "query"


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_shows_all_without_scrolling_sideways(browser: Browser, address: str, width: int) -> None:
    with search_page(browser, address, width=width, height=760) as ui:
        for path in ("/", "/?q=bowl", "/?q=" + "unheardof" * 30):
            ui.go(path)
            ui.answered()
            assert ui.page.evaluate("document.documentElement.scrollWidth") <= width
        ui.go("/?q=bowl")
        ui.open_card("colours")
        ui.until_playing()
        assert ui.page.evaluate("document.getElementById('player').scrollWidth") <= width
        for control in ("Close the player", "Next hit", "Previous hit"):
            box = ui.page.get_by_role("button", name=control).bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
        assert ui.faults == []


def test_dark_and_light_follow_the_system_and_can_be_read(browser: Browser, address: str) -> None:
    # Relative luminance and contrast as WCAG 2 defines them; 4.5 is its bound for text.
    contrast = """() => {
      const channels = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
        .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
      const weights = [0.2126, 0.7152, 0.0722];
      const luminance = (colour) => channels(colour).reduce((sum, part, at) => sum + part * weights[at], 0);
      const card = luminance(getComputedStyle(document.querySelector(".card")).backgroundColor);
      const texts = [".name", ".score", ".caption", ".like"].map((name) => document.querySelector(`.card ${name}`));
      const ratios = texts.map((text) => luminance(getComputedStyle(text).color))
        .map((text) => (Math.max(text, card) + 0.05) / (Math.min(text, card) + 0.05));
      return [card, Math.min(...ratios)];
    }"""
    grounds = {}
    for scheme in ("light", "dark"):
        with search_page(browser, address, scheme=scheme) as ui:
            ui.go("/?q=bowl")
            ui.answered()
            grounds[scheme], least = ui.page.evaluate(contrast)
            assert least >= 4.5
    assert grounds["light"] > 0.8
    assert grounds["dark"] < 0.1


def test_empty_loading_and_error_states(ui: SearchPage, searcher: FixedSearcher) -> None:
    ui.search("nowhere")
    ui.page.get_by_role("heading", name="No results", exact=True).wait_for()
    ui.search("unheard")
    ui.page.get_by_role("heading", name="No results: none of these words are in the vocabulary").wait_for()
    assert ui.page.get_by_role("button", name="Try again").count() == 0, "the same words would not help"

    searcher.broken = IndexDamagedError("index.json is damaged. Build the index again.")
    try:
        ui.search("bowl")
        ui.page.get_by_role("heading", name="The search failed").wait_for()
        ui.page.get_by_text("index.json is damaged.").wait_for()
    finally:
        searcher.broken = None
    ui.page.get_by_role("button", name="Try again").click()
    ui.cards.first.wait_for()

    ui.open_card("gone")
    ui.page.get_by_text("The video's file is no longer where the index has it.").wait_for()
    ui.page.keyboard.press("Escape")
    assert ui.cards.filter(has_text="fileless").locator(".open").is_disabled()
    ui.page.locator(".card", has_text="gone").locator(".picture.failed").wait_for()

    ui.page.route("**/api/search?*", lambda _: None)  # an answer that does not come
    ui.page.get_by_role("searchbox").fill("paint")
    ui.page.keyboard.press("Enter")
    ui.page.get_by_text("Searching…").wait_for()
    assert ui.page.locator(".card.waiting").count() == 8
    # On top of the other: without any, the browser would send the request that waits.
    ui.page.route("**/api/search?*", lambda route: route.abort())
    ui.page.keyboard.press("Enter")
    ui.page.get_by_text("The server does not answer.").wait_for()


def test_what_an_index_holds_is_text_and_no_markup(browser: Browser, searcher: FixedSearcher, tmp_path: Path) -> None:
    import dataclasses

    evil = "<img src=x onerror=document.title='broken'> bowl"
    moment = dataclasses.replace(searcher.moments[0], caption=evil, video_id=evil)
    video = dataclasses.replace(searcher.videos()["colours"], video_id=evil)
    with (
        running_page(FixedSearcher([video], [moment]), page_options(tmp_path)) as address,
        search_page(browser, address) as ui,
    ):
        ui.go("/?q=bowl")
        ui.answered()
        assert ui.names() == [evil]
        ui.open_card("bowl")
        ui.until_playing()
        assert ui.page.locator("#player-name").inner_text() == evil
        assert ui.page.title() == "bowl · reeldex"
