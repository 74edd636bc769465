"""What an extraction would take, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reeldex.quantities import counted, data_size, duration
from reeldex.storage.json_codec import to_json


@dataclass(frozen=True)
class Cost:
    """What an extraction would take.

    - `videos` are to be extracted, those that have their features already are not; `broken` cannot be opened, or their
      pictures exceed the limits; `unknown_duration` counts videos without a duration, which count as 0 s.
    - `decode_seconds`: wall-clock time of decoding alone, one video after the other, `device_seconds` of the networks
      alone; `total_seconds` of the whole run, start included.
    - `bytes_out`: size of the features on disk.
    - `shards` have videos to extract. `opened` of the videos were looked at, `stated` have the length that a list
      states; the other figures are extrapolated, as `assumptions` say. `machines` share the work.
    """

    videos: int
    broken: int
    unknown_duration: int
    seconds_of_video: float
    decode_seconds: float
    device_seconds: float
    total_seconds: float
    rows: Mapping[str, int]
    bytes_out: int
    shards: int
    opened: int
    stated: int
    machines: int = 1
    assumptions: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        found: dict[str, Any] = to_json(self)
        return found

    def __str__(self) -> str:
        rows = ", ".join(f"{count:,} rows of {name}" for name, count in self.rows.items())
        machines = f" on {self.machines:,} machines" if self.machines > 1 else ""
        text = (
            f"{counted(self.videos, 'video')} in {counted(self.shards, 'shard')}, "
            f"{self.broken:,} that cannot be opened, "
            f"{self.unknown_duration:,} of unknown duration\n"
            f"{duration(self.seconds_of_video)} of video: {rows}\n"
            f"in all    about {duration(self.total_seconds)}{machines}\n"
        )
        if self.decode_seconds or self.device_seconds:
            text += (
                f"decoding  about {duration(self.decode_seconds)} alone\n"
                f"networks  about {duration(self.device_seconds)} alone (both run at the same time)\n"
            )
        text += f"on disk   about {data_size(self.bytes_out)}"
        return "\n".join([text, *(f"Assumed: {each}" for each in self.assumptions)])
