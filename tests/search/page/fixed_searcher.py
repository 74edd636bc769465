"""A searcher with a fixed list of moments over real videos, and servers of the page for tests."""

from __future__ import annotations

import contextlib
import fnmatch
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reeldex.cli.page import describe
from reeldex.extractors import ffmpeg, ffmpeg_process
from reeldex.search.errors import UnknownWordsError
from reeldex.search.page.options import FfmpegProgram, PageOptions
from reeldex.search.results import Moment, SearchResults
from tests.videos import cached_video

# Each second of a video has a colour of its own; two that follow each other are far apart.
SECONDS_OF_COLOURS = 30


def colour_at(second: int) -> tuple[int, int, int]:
    """Return the colour (red, green, blue) of a second: one of 30, each channel one of a few far steps."""
    return 40 + 85 * (second % 3), 40 + 42 * ((second // 3) % 5), 40 + 170 * ((second // 15) % 2)


@dataclass(frozen=True)
class FixedVideo:
    """A video of the fixed index."""

    video_id: str
    path: str
    duration_seconds: float


@dataclass(frozen=True)
class FixedAbout:
    """What the fixed index says of itself."""

    moments: int
    videos: int


class FixedSearcher:
    """Answers every sentence with the moments whose caption holds one of its words.

    A real index would need features, a checkpoint and word vectors; the page only needs answers.
    """

    def __init__(self, videos: Sequence[FixedVideo], moments: Sequence[Moment]) -> None:
        self._videos = {video.video_id: video for video in videos}
        self.moments = list(moments)
        self.newer: FixedSearcher | None = None
        self.broken: Exception | None = None
        self.asked: list[tuple[str, int, bool, str | None]] = []

    def search(self, sentence: str, k: int = 10, *, merge: bool = True, videos: str | None = None) -> SearchResults:
        """Match words with captions."""
        self.asked.append((sentence, k, merge, videos))
        if self.broken:
            raise self.broken
        words = re.findall(r"[\w']+", sentence)
        known = [word for word in words if any(word in each.caption.split() for each in self.moments)]
        if not known and words != ["nowhere"]:
            raise UnknownWordsError(f"No results: none of these words are in the vocabulary: {sentence!r}.")
        fitting = [each for each in self.moments if set(known) & set(each.caption.split())]
        return self._results(fitting, k, videos, tuple(word for word in words if word not in known), sentence)

    def like(
        self, video_id: str, at_seconds: float, k: int = 10, *, merge: bool = True, videos: str | None = None
    ) -> SearchResults:
        """Return all others."""
        self.asked.append((f"{video_id}@{at_seconds:g}", k, merge, videos))
        others = [each for each in self.moments if not (each.video_id == video_id and _within(each, at_seconds))]
        return self._results(others, k, videos, (), f"{video_id}@{at_seconds:g}")

    @staticmethod
    def _results(
        moments: Sequence[Moment], k: int, videos: str | None, unknown: tuple[str, ...], query: str
    ) -> SearchResults:
        allowed = [each for each in moments if videos is None or fnmatch.fnmatchcase(each.video_id, videos)]
        return SearchResults(tuple(sorted(allowed, key=lambda each: -each.score)[:k]), unknown, query)

    def videos(self) -> Mapping[str, FixedVideo]:
        """Return all videos."""
        return self._videos

    def refreshed(self) -> FixedSearcher:
        """Return what a test put in its place."""
        return self.newer or self

    def about(self) -> FixedAbout:
        """Count."""
        return FixedAbout(len(self.moments), len(self._videos))


def _within(moment: Moment, at_seconds: float) -> bool:
    return moment.start_seconds <= at_seconds < moment.end_seconds


def make_colours(path: Path, *codec: str, seconds: int = SECONDS_OF_COLOURS) -> Path:
    """Make a video with sound whose colour tells the second, with these options of ffmpeg for its streams."""
    red, green, blue = "40+85*mod(S,3)", "40+42*mod(floor(S/3),5)", "40+170*mod(floor(S/15),2)"
    planes = ":".join(
        f"{name}='{value.replace('S', 'floor(T+0.001)')}'" for name, value in (("r", red), ("g", green), ("b", blue))
    )
    # The formulas of geq are evaluated for each pixel: four of them, enlarged, take a quarter of the time.
    picture = f"color=black:s=2x2:r=25:d={seconds},format=gbrp,geq={planes},scale=160:90:flags=neighbor"
    inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", f"sine=330:d={seconds}"]
    return cached_video(path, *inputs, "-pix_fmt", "yuv420p", *codec)


def make_fixed_index(folder: Path) -> FixedSearcher:
    """Make the videos and moments that the tests know."""
    quiet = ("-x265-params", "log-level=none:pools=none")
    made = [
        make_colours(folder / "colours.mp4", "-c:v", "libx264", "-g", "50", "-c:a", "aac"),
        make_colours(folder / "old film.avi", "-c:v", "mpeg4", "-q:v", "2", "-c:a", "mp3"),
        make_colours(folder / "wrapped.mkv", "-c:v", "libx264", "-g", "75", "-bf", "2", "-c:a", "aac"),
        make_colours(folder / "modern.mp4", "-c:v", "libx265", "-preset", "ultrafast", *quiet),
    ]
    videos = [FixedVideo(path.stem, str(path), float(SECONDS_OF_COLOURS)) for path in made]
    videos.append(FixedVideo("gone", str(folder / "gone.mp4"), 20.0))
    videos.append(FixedVideo("fileless", "", 20.0))
    captions = {
        "colours": [(4, 12, "a red bowl of paint"), (18, 26, "a blue bowl")],
        "old film": [(12, 20, "an old bowl"), (2, 8, "old grey paint")],
        "wrapped": [(13, 21, "a wrapped bowl")],
        "modern": [(17, 25, "a modern bowl")],
        "gone": [(3, 9, "a lost bowl")],
        "fileless": [(0, 8, "a nameless bowl")],
    }
    moments = [
        Moment(number, video.video_id, video.path, start, end, round(0.9 - 0.05 * number, 3), caption)
        for number, (video, (start, end, caption)) in enumerate(
            (video, each) for video in videos for each in captions[video.video_id]
        )
    ]
    return FixedSearcher(videos, moments)


def page_options(cache: Path, **changes: Any) -> PageOptions:  # noqa: ANN401 - the fields of PageOptions
    """Return options with the ffmpeg of this project."""
    limits = tuple(part for name, value in ffmpeg.input_limits().items() for part in (f"-{name}", value))
    options = PageOptions(FfmpegProgram(tuple(ffmpeg_process.command()), limits, describe), cache)
    return replace(options, **changes)


@contextlib.contextmanager
def running_page(searcher: Any, options: PageOptions) -> Iterator[str]:  # noqa: ANN401 - a Searcher, or what a test makes
    """Serve the page from a thread on a free port; gives its address, without a slash at the end."""
    import uvicorn

    from reeldex.search.page.app import make_app

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(256)
        config = uvicorn.Config(
            make_app(searcher, options),
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            timeout_graceful_shutdown=2,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def start_page_process(folder: Path, cache: Path, program: str) -> tuple[subprocess.Popen[str], str]:
    """Serve the videos of `folder`, as `serve` does, from a process of its own with this program as ffmpeg."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.search.page.fixed_searcher", str(folder), str(cache), program],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip().rstrip("/")


def _main() -> None:
    from reeldex.search.page.serve import serve

    folder, cache = map(Path, sys.argv[1:3])
    options = page_options(cache)
    # In the place of ffmpeg, behind what ends it with this process.
    command = (*options.ffmpeg.command[:-1], sys.argv[3])
    options = replace(options, ffmpeg=replace(options.ffmpeg, command=command))
    videos = [FixedVideo(path.stem, str(path), float(SECONDS_OF_COLOURS)) for path in sorted(folder.iterdir())]
    moments = [Moment(at, each.video_id, each.path, 4.0, 12.0, 0.5, "a bowl") for at, each in enumerate(videos)]
    serve(
        FixedSearcher(videos, moments),
        options,
        port=0,
        ready=lambda address: print(address, flush=True),  # noqa: T201 - the test reads it
    )


if __name__ == "__main__":
    _main()
