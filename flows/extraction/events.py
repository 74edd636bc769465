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
