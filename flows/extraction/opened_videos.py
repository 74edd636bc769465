"""The videos that an estimate opens, and what their decoding depends on."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reeldex.extractors.errors import ExtractionError
from reeldex.extractors.input_descriptions import TOGETHER, describe_together
from reeldex.extractors.pictures import require_size
from reeldex.extractors.probe import probe
from reeldex.flows.extraction.video_lengths import extracted_seconds

if TYPE_CHECKING:
    from reeldex.extractors.frames import VideoMetadata
    from reeldex.extractors.spec import ExtractorSpec
    from reeldex.flows.config.pipeline import PipelineConfig
    from reeldex.storage.schema import VideoEntry

_PROBES_AT_A_TIME = 8
_LONGEST_CLASS = 6  # videos of 64 seconds and longer are of one kind


@dataclass(frozen=True)
class OpenedVideo:
    """A video with what its file states, and the (height, width) of its pictures as they are shown."""

    entry: VideoEntry
    metadata: VideoMetadata
    shape: tuple[int, int]

    @property
    def seconds(self) -> float:
        """The length of what is extracted."""
        return extracted_seconds(self.entry.span, self.metadata.duration_seconds or 0.0)

    @property
    def kind(self) -> tuple[object, ...]:
        """What decoding depends on. Short videos are kinds of their own: starting ffmpeg takes a time of its own."""
        metadata = self.metadata
        length = min(_LONGEST_CLASS, int(max(1.0, metadata.duration_seconds or 0.0)).bit_length())
        return metadata.codec, metadata.width, metadata.height, round(metadata.frames_per_second or 0), length

    @property
    def pixels_per_second(self) -> float:
        """The pixels that are decoded for one second of video."""
        return self.metadata.width * self.metadata.height * (self.metadata.frames_per_second or 25.0)


def open_videos(
    entries: Sequence[VideoEntry], specs: Sequence[ExtractorSpec], config: PipelineConfig
) -> list[OpenedVideo]:
    """Return those of the videos that can be opened; the extraction reports why others cannot."""
    with ThreadPoolExecutor(_PROBES_AT_A_TIME) as pool:
        groups = [entries[first : first + TOGETHER] for first in range(0, len(entries), TOGETHER)]
        probed = list(pool.map(lambda group: _probe(group, specs, config), groups))
    return [video for found in probed for video in found]


def _probe(entries: Sequence[VideoEntry], specs: Sequence[ExtractorSpec], config: PipelineConfig) -> list[OpenedVideo]:
    limits, square = config.compute.limits, config.decode.square_pixels
    described = describe_together([entry.path for entry in entries], limits)
    found = []
    for entry in entries:
        try:
            metadata = probe(entry.path, limits=limits, options=config.decode, description=described.get(entry.path))
            for spec in specs:
                require_size(entry.path, spec, metadata, limits, square_pixels=square)
        except ExtractionError:
            continue
        found.append(OpenedVideo(entry, metadata, metadata.square_pixel_size if square else metadata.display_size))
    return found
