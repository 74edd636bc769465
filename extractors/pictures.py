"""What is decided about a video's pictures before they are decoded: their size, shape and colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reeldex.extractors.errors import DecodeError, FailureReason
from reeldex.extractors.notes import NoteKind
from reeldex.extractors.sampling import PictureChange
from reeldex.extractors.tone_map import table_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reeldex.extractors.damage import Ranges
    from reeldex.extractors.frames import VideoMetadata
    from reeldex.extractors.options import DecodeLimits, DecodeOptions
    from reeldex.extractors.spec import ExtractorSpec

_MOST_RANGES = 5


def require_size(
    path: str, spec: ExtractorSpec, metadata: VideoMetadata, limits: DecodeLimits, *, square_pixels: bool
) -> None:
    """Raise DecodeError for pictures that are too large or too long and narrow for the limits."""
    height, width = metadata.square_pixel_size if square_pixels else metadata.display_size
    if max(height, width) > limits.max_aspect_ratio * min(height, width):
        raise DecodeError(
            path,
            FailureReason.TOO_LARGE,
            f"A picture of {width} x {height} pixels is too long and narrow: one side is "
            f"{max(height, width) / min(height, width):.4g} times the other, the limit is {limits.max_aspect_ratio:g}.",
            "Crop or pad the video, or raise compute.limits.max_aspect_ratio.",
        )
    scaled_height, scaled_width = spec.scaled_size(height, width)
    largest = max(metadata.width * metadata.height, scaled_width * scaled_height)
    if largest > limits.max_frame_pixels:
        raise DecodeError(
            path,
            FailureReason.TOO_LARGE,
            f"A frame of {metadata.width} x {metadata.height} pixels ({scaled_width} x {scaled_height} when scaled "
            f"for {spec.name}) exceeds the limit of {limits.max_frame_pixels} pixels.",
            "Scale the video down, or raise compute.limits.max_frame_pixels.",
        )


def picture_change(metadata: VideoMetadata, options: DecodeOptions) -> PictureChange:
    """Return how the pictures of a video are changed.

    Raises PermanentFaultError if the table of colours cannot be written.
    """
    colour = metadata.colour
    if not (options.tone_map and colour.can_be_tone_mapped):
        # With stretched pixels, ffmpeg rounds the width in its own way.
        return PictureChange(options.square_pixels, size=None if options.square_pixels else metadata.display_size)
    # Without a stated matrix, ffmpeg would take that of SDR video.
    matrix = "bt2020" if colour.matrix is None or colour.matrix.startswith("bt2020") else None
    return PictureChange(options.square_pixels, table_file(colour), matrix)


def picture_notes(metadata: VideoMetadata, options: DecodeOptions) -> dict[NoteKind, str]:
    """Return what is worth knowing about the colours of a video."""
    colour = metadata.colour
    if colour.hdr is None:
        return {}
    if options.tone_map and colour.can_be_tone_mapped:
        said = f"The video is HDR ({colour.hdr}), mapped to BT.709."
    elif options.tone_map:
        said = (
            f"The video is HDR ({colour.hdr}), which decode.tone_map (--tone-map) does not map: its colours are wrong."
        )
    elif colour.can_be_tone_mapped:
        said = (
            f"The video is HDR ({colour.hdr}), processed without tone mapping: it looks flat and dark to the networks. "
            "decode.tone_map (--tone-map), in a store of its own, maps it to BT.709."
        )
    else:
        said = f"The video is HDR ({colour.hdr}), processed without its own colour mapping: its colours are wrong."
    return {NoteKind.HDR: said}


def damage_note(damaged: Mapping[str, Ranges | None]) -> dict[NoteKind, str]:
    """Return which rows may show damaged pictures, by extractor."""
    parts = []
    for extractor, ranges in damaged.items():
        if ranges is None:
            listed = "unknown"
        else:
            listed = ", ".join(f"{first}-{stop - 1}" for first, stop in ranges[:_MOST_RANGES]) or "none"
            listed += ", ..." if len(ranges) > _MOST_RANGES else ""
        parts.append(f"{extractor}: {listed}")
    listed = f"Rows that may show damaged pictures, and differ from run to run: {'; '.join(parts)}."
    return {NoteKind.DAMAGED_ROWS: listed}
