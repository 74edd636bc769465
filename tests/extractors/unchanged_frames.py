"""Arguments with which ffmpeg writes every frame of a test's video unchanged, without dropping or duplicating any."""

from __future__ import annotations

from reeldex.extractors import ffmpeg


def passthrough_arguments() -> list[str]:
    """Return `ffmpeg.passthrough_option` as arguments."""
    return [part for name, value in ffmpeg.passthrough_option().items() for part in (f"-{name}", value)]
