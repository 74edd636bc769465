"""The duration of a video from its rows, where nothing else is known of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from reeldex.storage.errors import StoreDamagedError, StoreUnreadableError
from reeldex.storage.outcomes import ShardOutcomes
from reeldex.storage.schema import VideoOutcome
from reeldex.storage.shard import RowTiming, ShardReader


def seconds_covered(timings: Iterable[RowTiming]) -> float:
    """Return when the last row of a video ends: the latest of its feature spaces, whose last rows may be filled up."""
    return max(each.start_seconds + each.row_count * each.seconds_per_row for each in timings)


def with_durations(root: Path, outcomes: ShardOutcomes) -> ShardOutcomes:
    """Return the outcomes with the durations that are not recorded, taken from the rows.

    A duration stays unknown while a feature file is missing, damaged or unreadable: `status` and `verify` report it.
    """
    unknown = [video for video in outcomes.videos if video.duration_seconds is None and video.rows]
    if not unknown:
        return outcomes
    timings: dict[str, list[RowTiming]] = {video.video_id: [] for video in unknown}
    for space, record in outcomes.files.items():
        try:
            with ShardReader(root / record.name) as reader:
                for video in unknown:
                    if space in video.rows:
                        timings[video.video_id].append(reader.timing(video.video_id))
        except (FileNotFoundError, StoreDamagedError, StoreUnreadableError):
            return outcomes

    def known(video: VideoOutcome) -> VideoOutcome:
        found = timings.get(video.video_id) if video.duration_seconds is None else None
        return replace(video, duration_seconds=seconds_covered(found)) if found else video

    return replace(outcomes, videos=tuple(map(known, outcomes.videos)))
