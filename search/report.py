"""The report on a build, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reeldex.quantities import counted, data_size, duration
from reeldex.storage.json_codec import to_json
from reeldex.storage.schema import JSON

_FAILURES_SHOWN = 5


@dataclass(frozen=True)
class BuildReport:
    """What one build did.

    - `videos_kept`: as they were; `videos_without_file`: left out because their file is gone.
    - `videos_captioned`: whose moments are captions, None without any; `unusable_captions`: why those of others cannot
      be used, which are indexed without.
    - `failed`: videos whose features could not be used, each with the reason; the next build tries them again.
    - `recall_at_10`: share of the 10 best moments that a search finds, measured on `recall_sample` queries of the kind
      that `recall_queries` names.
    - `seconds`: of this build; `size_bytes`: of the index on disk.
    - `up_to_date`: nothing had to be done; `notes`: what else was done, and why.
    """

    videos_added: int
    videos_changed: int
    videos_removed: int
    videos_kept: int
    videos_without_file: int
    videos_captioned: int | None
    unusable_captions: Mapping[str, str]
    failed: Mapping[str, str]
    moments: int
    factory: str
    recall_at_10: float
    recall_sample: int
    recall_queries: str
    seconds: float
    size_bytes: int
    up_to_date: bool
    notes: tuple[str, ...] = ()

    @property
    def videos(self) -> int:
        """Videos of the index."""
        return self.videos_added + self.videos_changed + self.videos_kept

    def to_json(self) -> dict[str, JSON]:
        """Return the fields as JSON values."""
        found: dict[str, JSON] = to_json(self)
        return found

    def __str__(self) -> str:
        state = "up to date" if self.up_to_date else f"built in {duration(self.seconds)}"
        lines = [
            (
                f"Index {state}: {counted(self.moments, 'moment')} of {counted(self.videos, 'video')}, "
                f"{data_size(self.size_bytes)}"
            ),
            (
                f"  videos: {self.videos_added} added, {self.videos_changed} changed, {self.videos_removed} removed, "
                f"{self.videos_kept} kept"
            ),
            (
                f"  {self.factory}; index self-check: recall@10 = {self.recall_at_10:.3f} "
                f"({self.recall_sample} {self.recall_queries})"
            ),
        ]
        if self.videos_without_file:
            lines.append(f"  {counted(self.videos_without_file, 'video')} left out: no such file")
        if self.videos_captioned is not None:
            unusable = (
                f"; those of {counted(len(self.unusable_captions), 'video')} cannot be used"
                if self.unusable_captions
                else ""
            )
            lines.append(f"  captions: {counted(self.videos_captioned, 'video')} with captions{unusable}")
        lines += [f"  {note}" for note in self.notes]
        lines += [f"  failed: {why}" for why in list(self.failed.values())[:_FAILURES_SHOWN]]
        if len(self.failed) > _FAILURES_SHOWN:
            lines.append(f"  and {counted(len(self.failed) - _FAILURES_SHOWN, 'more video')} failed")
        return "\n".join(lines)
