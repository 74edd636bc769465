"""A small picture of a video for display."""

from __future__ import annotations

import subprocess

from reeldex.extractors import ffmpeg, ffmpeg_process
from reeldex.extractors.errors import DecodeError, FailureReason
from reeldex.extractors.ffmpeg_process import require_memory
from reeldex.extractors.frames import VideoMetadata
from reeldex.extractors.options import DecodeLimits, DecodeOptions
from reeldex.extractors.probe import probe

# ffmpeg's scale of JPEG quality is 2 (best) to 31.
_JPEG_QUALITY = 6


def thumbnail(  # noqa: PLR0913 - all but three by keyword
    path: str,
    at_seconds: float,
    width: int = 160,
    *,
    timeout_seconds: float = 10.0,
    limits: DecodeLimits | None = None,
    options: DecodeOptions = DecodeOptions(),  # noqa: B008 - frozen
) -> bytes:
    """Return the picture of a video at `at_seconds`, or its first one if it ends before, as JPEG bytes.

    It is `width` pixels wide, upright, and keeps the aspect ratio; the track is the one that is decoded. Raises
    DecodeError or ProbeError.
    """
    limits = limits or DecodeLimits()
    metadata = probe(path, timeout_seconds, limits, options)
    for start in dict.fromkeys((at_seconds, 0.0)):
        picture = _picture_at(path, metadata, start, width, timeout_seconds, limits)
        if picture:
            return picture
    raise DecodeError(path, FailureReason.DECODE_ERROR, "ffmpeg found no picture in the file.", "Try to play it.")


def _picture_at(  # noqa: PLR0913, PLR0917 - the arguments of `thumbnail`
    path: str, metadata: VideoMetadata, at_seconds: float, width: int, timeout_seconds: float, limits: DecodeLimits
) -> bytes:
    far = ffmpeg.far_probe_options() if metadata.probed_far else {}
    # One thread: each further thread would decode another picture before the first one is available.
    source = ffmpeg.local_input(limits.max_frame_pixels, ss=at_seconds, noaccurate_seek=None, threads=1, **far)
    arguments = (
        source[str(metadata.stream)]
        .filter("scale", width, -2)
        .output("pipe:1", format="mjpeg", vframes=1, **{"q:v": _JPEG_QUALITY})
        .get_args()
    )
    try:
        answer = subprocess.run(
            [
                *ffmpeg_process.command(limits.ffmpeg_memory_bytes),
                "-v",
                "error",
                "-nostdin",
                *ffmpeg.with_path(arguments, path),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,  # a video that ends before that time produces no output, which is not an error
        )
    except subprocess.TimeoutExpired as error:
        raise DecodeError(
            path,
            FailureReason.TIMEOUT,
            f"ffmpeg produced no picture within {timeout_seconds:g} seconds.",
            "Check that the file's disk responds.",
        ) from error
    if not answer.stdout:
        require_memory(DecodeError, path, answer.stderr.decode("utf-8", "replace"), limits.ffmpeg_memory_bytes)
    return answer.stdout
