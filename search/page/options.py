"""Options of the search page."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from reeldex.search.options import PageConfig
from reeldex.search.page.request_guard import LOOPBACK_NAMES


class VideoFacts(Protocol):
    """ffmpeg's description of the video stream to show, `stream` in the file; None for what it does not state."""

    @property
    def codec(self) -> str: ...  # noqa: D102 - the protocol's docstring says what they are
    @property
    def stream(self) -> int: ...  # noqa: D102
    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def duration_seconds(self) -> float | None: ...  # noqa: D102
    @property
    def frames_per_second(self) -> float | None: ...  # noqa: D102
    @property
    def pixel_format(self) -> str | None: ...  # noqa: D102
    @property
    def colour_space(self) -> str | None: ...  # noqa: D102


@dataclass(frozen=True)
class FfmpegProgram:
    """The program that makes pictures and plays what browsers cannot.

    `command` starts it: its path, after the programs that limit its memory and end it with this process.
    `input_options` precede every input and restrict ffmpeg to local files; the page adds none that would relax them.
    `describe(path, printed)` parses what ffmpeg printed when it opened a file, None for one without a video stream.
    """

    command: tuple[str, ...]
    input_options: tuple[str, ...]
    describe: Callable[[str, bytes], VideoFacts | None]

    def __post_init__(self) -> None:
        if not self.command or not all(self.command):
            raise ValueError("The command of ffmpeg is empty; pass at least the path of the program.")
        if "-protocol_whitelist" not in self.input_options:
            raise ValueError(
                "ffmpeg's input options name no -protocol_whitelist: a video file could make it open URLs. "
                "Pass the options that restrict it to local files."
            )

    def input_arguments(self, path: str) -> tuple[str, ...]:
        """Return the arguments that open one local file, whatever characters its name has."""
        # The prefix keeps a leading dash from being an option and a colon from being a protocol.
        return (*self.input_options, "-i", "file:" + os.path.abspath(path))  # noqa: PTH100 - pathlib would collapse it


@dataclass(frozen=True)
class PageOptions:
    """Bounds of the page. Folders are made when they are missing; sizes are bytes, times are seconds."""

    ffmpeg: FfmpegProgram
    cache: Path
    cache_bytes: int = PageConfig().cache_bytes
    ffmpeg_processes: int = 2
    ffmpeg_waiting: int = 64
    picture_timeout_seconds: float = 20.0
    segment_timeout_seconds: float = 60.0
    segment_seconds: int = 10
    segment_height: int = 720
    picture_width: int = 480
    query_characters: int = 400
    most_results: int = 100
    search_threads: int = 2
    searches_per_second: float = 20.0
    searches_at_once: int = 40
    simultaneous_requests: int = 64
    refresh_seconds: float = 2.0
    host_names: tuple[str, ...] = field(default=LOOPBACK_NAMES)

    def __post_init__(self) -> None:
        for name in (
            "cache_bytes",
            "ffmpeg_processes",
            "ffmpeg_waiting",
            "segment_seconds",
            "segment_height",
            "picture_width",
            "query_characters",
            "most_results",
            "search_threads",
            "searches_at_once",
            "simultaneous_requests",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of the page is {getattr(self, name)}; it must be at least 1.")
        for name in ("picture_timeout_seconds", "segment_timeout_seconds", "searches_per_second", "refresh_seconds"):
            value = getattr(self, name)
            if not math.isfinite(value) or value <= 0:
                raise ValueError(f"{name} of the page is {value}; it must be a positive number of seconds or a rate.")
        if not self.host_names:
            raise ValueError("The page has no host name to answer to; name at least one, such as 127.0.0.1.")
