"""What a run comes to, for the command line, for programs and for the flow's state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.shard_work import ShardReport
    from storage.manifest import Growth
    from storage.schema import VideoEntry, VideoOutcome
    from storage.store import FeatureStore


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


def sum_up(
    store: FeatureStore,
    reports: Sequence[ShardReport],
    lost: Mapping[int, str],
    found: Sequence[VideoEntry] | None,
    growth: Growth | None,
) -> RunReport:
    """Return the report on a run: what its shards came to, and how the videos `found` stand now, or all without it."""
    outcomes = present_outcomes(store, found)
    failures = Counter(each.reason or "" for each in outcomes if each.status == "failed")
    return RunReport(
        store=str(store.path),
        shards_done=len(reports),
        shards_lost=lost,
        extracted_ok=sum(each.ok for each in reports),
        extracted_failed=sum(each.failed for each in reports),
        seconds_of_video=sum(each.seconds_of_video for each in reports),
        seconds_of_work=sum(each.seconds_of_work for each in reports),
        failed_by_reason=dict(sorted(failures.items())),
        truncated=sum(each.truncated for each in outcomes),
        new=growth.new if growth else 0,
        changed=growth.changed if growth else 0,
        unchanged=growth.unchanged if growth else 0,
        duplicates=growth.duplicates if growth else 0,
        gone=len(growth.gone) if growth else 0,
    )


def present_outcomes(store: FeatureStore, found: Sequence[VideoEntry] | None = None) -> list[VideoOutcome]:
    """Return the outcomes that stand now, of the videos `found` or of all; superseded and pending ones are left out.

    A file is known by its path, which also tells apart two files of one id; a file that has moved, by its id.
    """
    by_path: dict[str, VideoOutcome] = {}
    for manifest in store.manifests():
        outcomes = store.outcomes(manifest.shard)
        for position, entry in enumerate(manifest.videos):
            by_path.pop(entry.path, None)
            if outcomes is not None:
                by_path[entry.path] = outcomes.videos[position]
    if found is None:
        return list(by_path.values())
    present = [by_path.get(entry.path) or store.outcome(entry.video_id) for entry in found]
    return [outcome for outcome in present if outcome is not None]
