"""Makes the pictures of the search page: `python -m tests.system.search_screenshots docs/images`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from reeldex.search.results import Moment, SearchResults
from tests.search.page.fixed_searcher import FixedSearcher, FixedVideo, page_options, running_page
from tests.system.browsers import chromium
from tests.system.search_page import SearchPage, search_page
from tests.videos import run_ffmpeg

_SECONDS = 40
_SIZE = "s=640x360:r=12"
_SLOWLY = f":speed=0.02:d={_SECONDS}"
_LAVFI = {
    "mandelbrot zoom": f"mandelbrot={_SIZE}:start_scale=0.6:end_scale=0.004:end_pts=500,trim=end={_SECONDS},hue=h=150",
    "silk": f"gradients={_SIZE}:n=4:c0=0x0f766e:c1=0xf59e0b:c2=0x7c3aed:c3=0xe11d48:seed=4{_SLOWLY}",
    "evening sky": f"gradients={_SIZE}:n=3:type=radial:c0=0xfde68a:c1=0xdb2777:c2=0x1e1b4b:seed=7{_SLOWLY}",
    "life in green": (
        "life=s=80x45:r=12:mold=12:ratio=0.22:death_color=#0e7490:life_color=#5eead4:seed=11,"
        f"trim=duration={_SECONDS},scale=640:360:flags=neighbor"
    ),
    "potter's wheel": f"gradients={_SIZE}:n=3:type=spiral:c0=0x451a03:c1=0xd97706:c2=0xfef3c7:seed=5{_SLOWLY}",
    "paper fan": f"gradients={_SIZE}:n=3:type=circular:c0=0x172554:c1=0x2563eb:c2=0xe0f2fe:seed=9{_SLOWLY}",
}
# Video, start and end in seconds, score, what it shows.
_FOUND = [
    ("evening sky", 12, 20, 0.41, "warm colours drift over a dark evening sky"),
    ("mandelbrot zoom", 20, 28, 0.38, "the camera dives into a glowing valley of the Mandelbrot set"),
    ("silk", 4, 12, 0.37, "teal flows slowly into warm orange"),
    ("life in green", 16, 24, 0.33, "green cells swarm over dark water"),
    ("evening sky", 30, 38, 0.31, "the light sinks behind the horizon"),
    ("potter's wheel", 8, 16, 0.29, "clay turns on the wheel"),
    ("mandelbrot zoom", 4, 12, 0.27, "a dark island seen from far above"),
    ("silk", 24, 32, 0.26, "violet meets red"),
    ("evening sky", 2, 8, 0.25, "a pale sun stands over the sea"),
    ("paper fan", 10, 18, 0.22, "a blue paper fan unfolds"),
]


class _Gallery(FixedSearcher):
    """Answers every sentence with all moments: what is photographed is the page."""

    def search(
        self,
        sentence: str,
        k: int = 10,
        *,
        merge: bool = True,  # noqa: ARG002 - a searcher's signature
        videos: str | None = None,
    ) -> SearchResults:
        return self._results(self.moments, k, videos, (), sentence)


def main(out: Path) -> None:
    """Serve a gallery of generated videos and photograph its pages."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        videos = [FixedVideo(name, str(_make(Path(folder), name)), float(_SECONDS)) for name in _LAVFI]
        paths = {video.video_id: video.path for video in videos}
        moments = [
            Moment(number, name, paths[name], start, end, score, caption)
            for number, (name, start, end, score, caption) in enumerate(_FOUND)
        ]
        with (
            running_page(_Gallery(videos, moments), page_options(Path(folder) / "cache")) as address,
            chromium() as browser,
        ):
            with search_page(browser, address, width=1280, height=820) as ui:
                _results(ui)
                ui.page.screenshot(path=out / "reeldex.search.png")
            with search_page(browser, address, width=1280, height=860, scheme="dark") as ui:
                _results(ui)
                ui.open_card("evening sky")
                ui.until_playing()
                ui.page.locator(".hit").nth(2).wait_for()
                ui.page.wait_for_timeout(1500)
                ui.page.screenshot(path=out / "search-playing.png")
            with search_page(browser, address, width=390, height=780, scale=1.5) as ui:
                _results(ui)
                ui.page.screenshot(path=out / "search-phone.png")


def _results(ui: SearchPage) -> None:
    ui.go("/")
    ui.search("warm colours over a dark sky")
    ui.page.wait_for_timeout(3000)  # pictures come in as they are made
    ui.page.evaluate("document.activeElement.blur()")


def _make(folder: Path, name: str) -> Path:
    path = folder / f"{name}.mp4"
    run_ffmpeg("-f", "lavfi", "-i", _LAVFI[name], "-pix_fmt", "yuv420p", "-preset", "veryfast", path)
    return path


if __name__ == "__main__":
    main(Path(sys.argv[1]))
