"""Events of the extraction of a shard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reeldex.storage.schema import VideoOutcome


@dataclass(frozen=True)
class ShardPlanned:
    """`videos` of a shard's `of` videos are to be extracted."""

    shard: int
    videos: int
    of: int


@dataclass(frozen=True)
class VideoDecoded:
    """A further `seconds` of a video have been decoded."""

    seconds: float


@dataclass(frozen=True)
class VideoFinished:
    """A video of a shard has its outcome."""

    shard: int
    outcome: VideoOutcome


@dataclass(frozen=True)
class TimeSpent:
    """Further seconds that a shard's decoders worked, and that the engine waited for the networks and for frames.

    `fetching_seconds` are those of the last that it waited because videos were still being fetched.
    `queue_depth` is the number of decoded chunks that wait for the networks now.
    """

    shard: int
    decode_seconds: float = 0.0
    device_seconds: float = 0.0
    waiting_seconds: float = 0.0
    queue_depth: int = 0
    fetching_seconds: float = 0.0

    def since(self, earlier: TimeSpent) -> TimeSpent:
        """Return what was spent since an earlier sum."""
        return TimeSpent(
            self.shard,
            self.decode_seconds - earlier.decode_seconds,
            self.device_seconds - earlier.device_seconds,
            self.waiting_seconds - earlier.waiting_seconds,
            self.queue_depth,
            self.fetching_seconds - earlier.fetching_seconds,
        )
