"""The videos of a store as a printable table: path, duration, rows, outcome."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

from reeldex.storage.catalog import Catalog
from reeldex.storage.schema import VideoEntry, VideoOutcome

_LONGEST_TABLE = 40
_WIDTH_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """One video of a store.

    `rows` is the number of rows by feature space. `outcome` is `ok`, `truncated` (the features end early), `pending`
    (not extracted yet), or the reason of a failure, which `message` explains.
    """

    video_id: str
    path: str
    duration_seconds: float | None
    rows: Mapping[str, int]
    outcome: str
    message: str


class VideoTable(Sequence[StoredVideo]):
    """The videos of a store in the order of their ids; printed as a table."""

    def __init__(self, videos: Sequence[StoredVideo]) -> None:
        self._videos = tuple(videos)

    @overload
    def __getitem__(self, at: int) -> StoredVideo: ...

    @overload
    def __getitem__(self, at: slice) -> VideoTable: ...

    def __getitem__(self, at: int | slice) -> StoredVideo | VideoTable:
        return VideoTable(self._videos[at]) if isinstance(at, slice) else self._videos[at]

    def __iter__(self) -> Iterator[StoredVideo]:
        return iter(self._videos)

    def __len__(self) -> int:
        return len(self._videos)

    def __repr__(self) -> str:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("path", overflow="fold")
        table.add_column("duration (s)", justify="right")
        spaces = sorted({space for video in self for space in video.rows})
        for space in spaces:
            table.add_column(f"rows {space}", justify="right")
        table.add_column("outcome")
        for video in self._videos[:_LONGEST_TABLE]:
            seconds = "" if video.duration_seconds is None else f"{video.duration_seconds:.1f}"
            counts = [str(video.rows.get(space, "")) for space in spaces]
            # File names may not be UTF-8, or may look like markup.
            path = Text(video.path.encode("utf-8", "backslashreplace").decode())
            table.add_row(path, seconds, *counts, video.outcome)
        text = io.StringIO()
        Console(file=text, width=_WIDTH_CHARACTERS, color_system=None, legacy_windows=False).print(table)
        lines = [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]
        if len(self) > _LONGEST_TABLE:
            lines.append(f"... and {len(self) - _LONGEST_TABLE} more of {len(self)} videos")
        return "\n".join(lines)


def list_videos(catalog: Catalog) -> VideoTable:
    """Return the latest version of every video of a store; raises as reading its files does."""
    found = []
    uncounted = catalog.uncounted_by_shard()
    for manifest, outcomes in catalog.walk():
        excluded = uncounted.get(manifest.shard, frozenset[int]())
        for position, entry in enumerate(manifest.videos):
            if position not in excluded and entry.duplicate_of is None:
                found.append(_stored(entry, outcomes.videos[position] if outcomes is not None else None))
    return VideoTable(sorted(found, key=lambda video: video.video_id))


def _stored(entry: VideoEntry, outcome: VideoOutcome | None) -> StoredVideo:
    if outcome is None:
        return StoredVideo(entry.video_id, entry.path, None, {}, "pending", "")
    return StoredVideo(
        entry.video_id,
        outcome.path,
        outcome.duration_seconds,
        outcome.rows,
        outcome.reason or outcome.status,
        outcome.message,
    )
