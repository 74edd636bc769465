"""The videos of an index, and where their moments are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from reeldex.search.columns import Columns
from reeldex.storage.json_codec import Integer, Number, Text


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """A video of the index: moments `first_id`... in rows `first_row`... of a segment; `signature` of its content.

    `shard` is the shard of the store with its features.
    """

    video_id: Text
    path: Text
    duration_seconds: Number
    signature: Text
    shard: Integer
    segment: Integer
    first_row: Integer
    first_id: Integer
    moments: Integer


class VideoRecords(Columns[VideoRecord]):
    """Videos of an index in the order of their moments' ids: about 200 bytes each."""

    record = VideoRecord
    fields: ClassVar = {
        "video_id": str,
        "path": str,
        "duration_seconds": float,
        "signature": str,
        "shard": int,
        "segment": int,
        "first_row": int,
        "first_id": int,
        "moments": int,
    }
