"""Whether a video ends early: before the end that its container states, and not just before its sound does."""

from __future__ import annotations

from pathlib import Path

from reeldex.extractors.frames import VideoMetadata

# Sampling rounds to half a sample (half a second at 1 frame per second), and containers round too.
_TOLERANCE_SECONDS = 1.0
_TOLERANCE_SHARE = 0.02
_BOX_HEADER_BYTES = 8
_LARGE_SIZE = 1  # then the size follows the type, as 8 bytes
_TO_THE_END = 0


def tolerance_seconds(seconds: float) -> float:
    """Return by how much the length of a video may differ from a stated one."""
    return max(_TOLERANCE_SECONDS, _TOLERANCE_SHARE * seconds)


def is_truncated(path: str, metadata: VideoMetadata, decoded_seconds: float, error_count: int) -> bool:
    """Whether decoding ended before the end of the picture, by more than a second and more than 2 %.

    `decoded_seconds` is the latest time that was reached, also by a picture whose time was wrong.
    The end is the container's, as long as sound and subtitles are not known to be longer than the picture: in Matroska
    the stream's own end says so, in MOV and MP4 a file that is there to its last byte and was decoded without errors.
    Without a stated end, or with one that ffmpeg took from the last timestamps, the result is False.
    """
    end = metadata.end_seconds
    if end is None or end - decoded_seconds <= tolerance_seconds(end):
        return False
    stream_end = metadata.stream_end_after_start
    if stream_end is not None and abs(stream_end - decoded_seconds) <= tolerance_seconds(stream_end):
        return False
    return not metadata.container.startswith("mov,") or error_count > 0 or not has_all_boxes(path)


def has_all_boxes(path: str) -> bool:
    """Whether a MOV or MP4 file is as long as the sizes of its top-level boxes require. Raises OSError."""
    size = Path(path).stat().st_size
    at = 0
    with Path(path).open("rb") as file:
        while at < size:
            file.seek(at)
            header = file.read(2 * _BOX_HEADER_BYTES)
            if len(header) < _BOX_HEADER_BYTES:
                return False
            length = int.from_bytes(header[:4])
            if length == _TO_THE_END:
                return True
            if length == _LARGE_SIZE:
                length = int.from_bytes(header[_BOX_HEADER_BYTES:])
            if length < _BOX_HEADER_BYTES:
                return False
            at += length
    return at == size
