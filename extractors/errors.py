"""Errors of one video or of weights, with a remedy in their messages."""

from __future__ import annotations

import errno
from enum import StrEnum

from reeldex.errors import ReeldexError, UserError

MACHINE_ERRNOS = {errno.ENOMEM, errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EDQUOT}
"""Errors of the operating system that are due to the machine, whatever was opened."""


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
    """The features of one video cannot be extracted, because of the file, not the machine.

    `path` is the file, `reason` one of the closed list. `str()` is `what_happened`, a sentence, and
    `what_to_do`, the remedy.
    """

    stage = "extract"

    def __init__(self, path: str, reason: FailureReason, what_happened: str, what_to_do: str) -> None:
        super().__init__(f"{what_happened} {what_to_do}")
        self.path = path
        self.reason = reason
        self.what_happened = what_happened
        self.what_to_do = what_to_do


class ProbeError(ExtractionError):
    """The container could not be opened, or contains no video stream."""

    stage = "probe"


class DecodeError(ExtractionError):
    """ffmpeg opened the file but could not decode it."""

    stage = "decode"


class FfmpegNotFoundError(UserError):
    """No ffmpeg on PATH, and the `imageio-ffmpeg` package has none for this machine."""


class WeightsError(UserError):
    """Weights of a network are missing, damaged, or do not match it. The message names the file and the remedy."""


class UnknownExtractorError(UserError, ValueError):
    """No extractor of that name is registered."""


class InvalidExtractorError(UserError, ValueError):
    """An extractor of another package cannot be used: its record or its network is not as the registry requires."""
