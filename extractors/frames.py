"""The values that pass through the extractors. All are frozen and reject invalid data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reeldex.extractors.errors import FailureReason


@dataclass(frozen=True)
class VideoSource:
    """A video to extract from: its id, unique within a run, its path on this machine, and the part of it in seconds.

    `end_seconds` is None for the end of the file.
    """

    video_id: str
    path: str
    start_seconds: float = 0.0
    end_seconds: float | None = None

    def __post_init__(self) -> None:
        if not self.video_id or not self.path:
            raise ValueError(f"a video needs an id and a path, got {self.video_id!r} and {self.path!r}")
        if not 0 <= self.start_seconds < (math.inf if self.end_seconds is None else self.end_seconds):
            raise ValueError(f"a clip needs 0 <= start < end, got {self.start_seconds} and {self.end_seconds} seconds")

    @property
    def is_clip(self) -> bool:
        """Whether this is a part of its file."""
        return self.start_seconds > 0 or self.end_seconds is not None


@dataclass(frozen=True)
class VideoMetadata:
    """Container metadata of the first video stream.

    `width`, `height` are stored pixels, before `rotation_degrees` (counter-clockwise) is applied.
    `duration_seconds` is the container's. `pixel_format` and `colour_space` are ffmpeg's names, such as yuv420p and
    bt709. All three are None if the file does not specify them.
    """

    container: str
    codec: str
    width: int
    height: int
    rotation_degrees: float
    frames_per_second: float | None
    duration_seconds: float | None
    pixel_format: str | None = None
    colour_space: str | None = None

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"invalid size of a video stream: {self.width} x {self.height} pixels")

    @property
    def display_size(self) -> tuple[int, int]:
        """(height, width) in pixels after rotation."""
        quarter_turns = round(self.rotation_degrees / 90) % 4
        return (self.width, self.height) if quarter_turns % 2 else (self.height, self.width)


@dataclass(frozen=True)
class FrameBatch:
    """Consecutive frames of one video for one extractor: `frames` (N, H, W, 3) uint8, RGB."""

    extractor: str
    frames: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[3] != 3 or self.frames.dtype != np.uint8:
            raise ValueError(f"frames must be (N, H, W, 3) uint8, not {self.frames.shape} {self.frames.dtype}")


@dataclass(frozen=True)
class DecodeSummary:
    """Summary of a video's decoding: seconds decoded, whether truncated, and the decoder's errors."""

    metadata: VideoMetadata
    decoded_seconds: float
    truncated: bool
    error_count: int
    first_error: str


@dataclass(frozen=True)
class VideoFeatures:
    """Features of one video by extractor: `rows` (R, D) float16, each row L2-normalised, R >= 1.

    Row i of an extractor begins at `first_row_seconds` + i * `seconds_per_row` in the file; the former is 0 except for
    clips.
    """

    source: VideoSource
    rows: Mapping[str, NDArray[np.float16]]
    seconds_per_row: Mapping[str, float]
    summary: DecodeSummary
    first_row_seconds: Mapping[str, float]

    def __post_init__(self) -> None:
        for name, rows in self.rows.items():
            check_rows(rows, f"{name} of {self.source.video_id!r}")


@dataclass(frozen=True)
class ExtractionFailure:
    """A video without features: the reason and the remedy."""

    source: VideoSource
    reason: FailureReason
    message: str


def check_rows(rows: NDArray[Any], what: str) -> None:
    """Raise ValueError unless `rows` is (R, D) float16 with R >= 1."""
    if rows.ndim != 2 or rows.shape[0] < 1 or rows.dtype != np.float16:
        raise ValueError(f"{what}: rows must be (R, D) float16 with R >= 1, not {rows.shape} {rows.dtype}")
