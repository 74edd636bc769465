"""What a run comes to, for the command line, for programs and for the flow's state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RunReport:
    """What one `extract` or `rerun` did.

    - `shards_lost` maps the shards that did not finish to why.
    - `extracted_ok`, `extracted_failed` count the videos worked on in this run.
    - `failed_by_reason` counts all videos of the source (of the store, for a rerun) that have no features now,
      whenever they failed; `truncated` those whose features end early.
    - `new`, `changed`, `unchanged`, `duplicates` count the videos found in the source, `gone` those of the store
      that were not found there.
    """

    store: str
    spaces: tuple[str, ...]
    shards_done: int
    shards_lost: Mapping[int, str]
    extracted_ok: int
    extracted_failed: int
    seconds_of_video: float
    seconds_of_work: float
    failed_by_reason: Mapping[str, int]
    truncated: int
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    duplicates: int = 0
    gone: int = 0

    @property
    def well(self) -> bool:
        """Whether every shard is done and every video has its features."""
        return not self.shards_lost and not self.failed_by_reason

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        if self.shards_done or self.shards_lost:
            speed = self.seconds_of_video / self.seconds_of_work if self.seconds_of_work else 0.0
            text = (
                f"{self.extracted_ok} videos extracted, {self.extracted_failed} failed, "
                f"{self.shards_done} shards done; "
                f"{self.seconds_of_video:.1f} s of video at {speed:.2f} s of video per second"
            )
        else:
            text = "nothing to do"
        if self.shards_lost:
            names = ", ".join(f"{shard:05d}" for shard in self.shards_lost)
            text += f"; {len(self.shards_lost)} shards LOST: {names}"
        return text


class ShardsLostError(Exception):
    """Some shards did not finish, through a fault of the machine or of reeldex. `report` is what was done."""

    def __init__(self, report: RunReport) -> None:
        reasons = "; ".join(f"shard {shard:05d}: {why}" for shard, why in report.shards_lost.items())
        super().__init__(f"{report}. {reasons}. Run `reeldex rerun {report.store}` once the cause is gone.")
        self.report = report
