"""Embeds videos of a store into a new segment of an index, video by video in bounded memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reeldex.embedding.block_pooling import pool_opened
from reeldex.embedding.errors import FeaturesError
from reeldex.embedding.features import STREAMS, StoreFeatures
from reeldex.search.moments import Window, caption_windows, sliding_windows
from reeldex.search.options import IndexOptions
from reeldex.search.request import Captions
from reeldex.search.segments import write_segment
from reeldex.search.store_videos import StoreVideo, captions_of
from reeldex.search.tower import VideoTower
from reeldex.search.video_records import VideoRecord, VideoRecords
from reeldex.storage.shard import RowTiming

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class NewSegment:
    """Where a segment is written, and the ids of its moments."""

    folder: Path
    number: int
    first_id: int
    embed_dim: int


@dataclass
class Embedded:
    """The records of embedded videos, and why others could not be embedded."""

    records: VideoRecords = field(default_factory=VideoRecords)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def moments(self) -> int:
        """The number of moments of all videos."""
        return int(self.records.numbers("moments").sum())


@dataclass(frozen=True)
class VideoEmbedder:
    """Embeds videos as moments; the features of one video are in memory at a time, pooled to its moments."""

    source: StoreFeatures
    tower: VideoTower
    options: IndexOptions
    captions: Captions | None

    def write(
        self, videos: Iterable[StoreVideo], total: int, target: NewSegment, progress: Progress | None
    ) -> Embedded:
        """Publish a segment of these `total` videos; `progress` is called with (videos done, videos in total).

        A video whose features cannot be used is left out and reported with the reason.
        """
        done = Embedded()
        with write_segment(target.folder, target.number, target.embed_dim) as writer:
            for number, video in enumerate(videos):
                try:
                    streams = [self.source.video(stream, video.video_id) for stream in range(len(STREAMS))]
                    duration, windows = self._windows(video, [each.timing for each in streams])
                    spans = [(window.start_seconds, window.end_seconds) for window in windows]
                    pooled = pool_opened(streams, self.source.stream_dims, video.video_id, spans)
                except FeaturesError as error:
                    log.warning("%s", error)
                    done.failed[video.video_id] = str(error)
                    if progress:
                        progress(number + 1, total)
                    continue
                row = writer.rows
                done.records.append(
                    VideoRecord(
                        video_id=video.video_id,
                        path=video.path,
                        duration_seconds=duration,
                        signature=video.signature,
                        shard=video.shard,
                        segment=target.number,
                        first_row=row,
                        first_id=target.first_id + row,
                        moments=len(windows),
                    )
                )
                writer.add_windows(windows)
                for embeddings in self.tower.push(pooled):
                    writer.add_embeddings(embeddings)
                if progress:
                    progress(number + 1, total)
            writer.add_embeddings(self.tower.flush())
        return done

    def _windows(self, video: StoreVideo, timings: Sequence[RowTiming]) -> tuple[float, tuple[Window, ...]]:
        """Return a video's duration and its moments, which end where the shorter stream ends."""
        ends = [timing.start_seconds + timing.row_count * timing.seconds_per_row for timing in timings]
        # Of a clip of a file, all times are those of the file.
        start = min(timing.start_seconds for timing in timings)
        duration = max(ends) if video.duration_seconds is None else start + video.duration_seconds
        end = min([*ends, duration] if duration > 0 else ends)
        options = self.options
        captions = captions_of(self.captions, video.video_id) if video.captioned else None
        windows = caption_windows(captions, options.min_caption_seconds, end, start) if captions else ()
        return max(duration, end), windows or sliding_windows(
            end, options.window_seconds, options.stride_seconds, start
        )
