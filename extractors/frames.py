"""The values that pass through the extractors. All are frozen and reject invalid data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reeldex.extractors.colour import Colour
from reeldex.extractors.damage import Ranges
from reeldex.extractors.errors import FailureReason
from reeldex.extractors.notes import NoteKind


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
    """Container metadata of the video stream to decode.

    `width`, `height` are stored pixels, before `rotation_degrees` (counter-clockwise) is applied.
    `duration_seconds` is the container's. `pixel_format` is ffmpeg's name, such as yuv420p. Both are None if the file
    does not specify them. `pixel_aspect` is the width of a pixel divided by its height, before rotation.

    - `start_seconds`: the container's earliest timestamp, which is time 0 of the decoded video.
    - `stream_end_seconds`: the end of the stream itself, from the container's time 0; None if unknown.
    - `has_own_duration`: whether the container itself contains its duration, which a file that is cut off exceeds.
    - `stream`: number of the stream in the file, from 0; `track_choice` says why this one, if there are several.
    - `probed_far`: whether the stream begins so late in the file that ffmpeg has to search for it.
    - `begins_late`: whether the sound has to be read too, so that time begins with it.
    """

    container: str
    codec: str
    width: int
    height: int
    rotation_degrees: float
    frames_per_second: float | None
    duration_seconds: float | None
    pixel_format: str | None = None
    start_seconds: float = 0.0
    stream_end_seconds: float | None = None
    has_own_duration: bool = True
    stream: int = 0
    track_choice: str | None = None
    probed_far: bool = False
    colour: Colour = field(default_factory=Colour)
    pixel_aspect: float = 1.0
    begins_late: bool = False

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"invalid size of a video stream: {self.width} x {self.height} pixels")
        if not 0 < self.pixel_aspect < math.inf:
            raise ValueError(f"invalid shape of a pixel: {self.pixel_aspect}")

    @property
    def colour_space(self) -> str | None:
        """The colour matrix, such as bt709; None if the file does not state it."""
        return self.colour.matrix

    @property
    def end_seconds(self) -> float | None:
        """Where the decoded video should end, as far as the container knows, in seconds after its start."""
        if self.duration_seconds is None or not self.has_own_duration:
            return None
        return _after_start(self.duration_seconds, self.start_seconds)

    @property
    def stream_end_after_start(self) -> float | None:
        """`stream_end_seconds`, in seconds of the decoded video."""
        return None if self.stream_end_seconds is None else _after_start(self.stream_end_seconds, self.start_seconds)

    @property
    def display_size(self) -> tuple[int, int]:
        """(height, width) in pixels after rotation."""
        return self._rotated(self.height, self.width)

    @property
    def square_pixel_size(self) -> tuple[int, int]:
        """`display_size` with the width that players show, for non-square pixels."""
        return self._rotated(self.height, max(1, round(self.width * self.pixel_aspect)))

    def _rotated(self, height: int, width: int) -> tuple[int, int]:
        quarter_turns = round(self.rotation_degrees / 90) % 4
        return (width, height) if quarter_turns % 2 else (height, width)


def _after_start(seconds: float, start_seconds: float) -> float:
    # Matroska's duration, and that of a MOV with an empty edit, are counted from 0, not from the first timestamp.
    return seconds - start_seconds if 0 < start_seconds < seconds else seconds


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
    """Summary of a video's decoding: seconds decoded, whether truncated, the decoder's errors, and notes.

    `damaged_samples` and `damaged_rows` are, by extractor, the ranges (first, stop) of the file's frames, and of the
    video's rows, that may show damaged pictures; None if unknown.
    `notes` maps each kind of note to the sentence that explains it.
    Of a clip only: `first_row_seconds`, by extractor, and where the file's picture ends, both in seconds of the file.
    """

    metadata: VideoMetadata
    decoded_seconds: float
    truncated: bool
    error_count: int
    first_error: str
    damaged_samples: Mapping[str, Ranges | None] = field(default_factory=dict)
    damaged_rows: Mapping[str, Ranges | None] = field(default_factory=dict)
    notes: Mapping[NoteKind, str] = field(default_factory=dict)
    first_row_seconds: Mapping[str, float] = field(default_factory=dict)
    picture_end_seconds: float | None = None


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
