"""The search page in a real browser, as a person uses it. Tests and the script that makes the screenshots share it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

# The mean colour of what the player shows.
_PIXEL = """() => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d");
  context.drawImage(document.getElementById("video"), 0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
}"""


class SearchPage:
    """A browser on a search page; `outside` lists what was asked for elsewhere, `faults` what scripts threw."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.outside: list[str] = []
        self.faults: list[str] = []
        page.set_default_timeout(20_000)
        page.on("request", self._note)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._note_refusal)

    def _note(self, request: Any) -> None:  # noqa: ANN401 - playwright's
        asked, own = urlsplit(request.url), urlsplit(self.address)
        if asked.scheme.startswith(("http", "ws")) and asked.netloc != own.netloc:
            self.outside.append(request.url)

    def _note_refusal(self, message: Any) -> None:  # noqa: ANN401 - playwright's
        if "Content Security Policy" in message.text:
            self.faults.append(message.text)

    def go(self, path: str = "/") -> None:
        """Open an address of the page."""
        self.page.goto(self.address + path)

    def search(self, sentence: str) -> None:
        """Type a sentence, press Enter, and wait for the answer."""
        self.page.get_by_role("searchbox").fill(sentence)
        self.page.keyboard.press("Enter")
        self.answered()

    def answered(self) -> None:
        """Wait until the question in the address is answered."""
        self.page.locator("#results:not([aria-busy])").wait_for(state="attached")

    @property
    def cards(self) -> Locator:
        """The results."""
        return self.page.locator(".card:not(.waiting)")

    def names(self) -> list[str]:
        """Return the names of the videos found, in their order."""
        return self.cards.locator(".name").all_inner_texts()

    def open_card(self, name: str, number: int = 0) -> None:
        """Click the picture of a result."""
        self.cards.filter(has=self.page.locator(".name", has_text=name)).nth(number).locator(".open").click()

    def until_playing(self) -> None:
        """Wait until the player plays and has pictures."""
        self.page.wait_for_function(
            "() => { const video = document.getElementById('video');"
            " return video.readyState >= 3 && !video.paused && !video.seeking && video.videoWidth > 0; }"
        )

    def second(self) -> float:
        """Return where the player is."""
        seconds: float = self.page.evaluate("document.getElementById('video').currentTime")
        return seconds

    def stand_at(self, seconds: float) -> None:
        """Stop the player at a time; it draws the picture of that time a little later."""
        self.page.evaluate(
            "async (seconds) => { const video = document.getElementById('video'); video.pause();"
            " video.currentTime = seconds; }",
            seconds,
        )
        self.page.wait_for_function(
            "() => { const video = document.getElementById('video'); return !video.seeking && video.readyState >= 2; }"
        )

    def colour(self) -> tuple[int, ...]:
        """Return the colour (red, green, blue) that the player shows now."""
        return tuple(self.page.evaluate(_PIXEL))

    def delivery(self) -> str:
        """Return how the video is played: file, remux or transcode."""
        return self.page.locator("#player").get_attribute("data-delivery") or ""


@contextmanager
def search_page(
    browser: Browser,
    address: str,
    *,
    width: int = 1280,
    height: int = 900,
    scheme: Literal["light", "dark"] = "light",
    scale: float = 1,
) -> Iterator[SearchPage]:
    """Open a search page in a profile of its own; `scale` is the pixels a point of its screen has."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=scale
    )
    try:
        yield SearchPage(context.new_page(), address)
    finally:
        context.close()
