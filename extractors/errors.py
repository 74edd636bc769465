"""What can go wrong with one video or with the weights, as exceptions that say what to do next."""

from __future__ import annotations

from enum import StrEnum

from reeldex.errors import ReeldexError, UserError


class FailureReason(StrEnum):
    """The closed list of reasons for which a video has no features."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    NO_VIDEO_STREAM = "no_video_stream"
    DECODE_ERROR = "decode_error"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    INTERNAL_ERROR = "internal_error"


class ExtractionError(ReeldexError):
    """One video cannot be turned into features. The fault lies with the file, not with the machine.

    `path` is the file, `reason` one of the closed list, `what_to_do` the advice. `str()` gives all of it.
    """

    stage = "extract"

    def __init__(self, path: str, reason: FailureReason, what_happened: str, what_to_do: str) -> None:
        super().__init__(f"{what_happened} {what_to_do}")
        self.path = path
        self.reason = reason
        self.what_to_do = what_to_do


class ProbeError(ExtractionError):
    """The container could not be opened, or holds nothing to extract from."""

    stage = "probe"


class DecodeError(ExtractionError):
    """ffmpeg opened the file but could not turn it into frames."""

    stage = "decode"


class FfmpegNotFoundError(UserError):
    """There is no ffmpeg on PATH, and the `imageio-ffmpeg` package carries none for this machine."""


class WeightsError(UserError):
    """Weights of a network are absent, damaged, or do not fit it. The message names the file and the remedy."""


class UnknownExtractorError(UserError, ValueError):
    """No extractor of that name is registered."""
