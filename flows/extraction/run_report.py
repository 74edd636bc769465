"""The report on a run, for the command line, for programs and for the flow's state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from reeldex.flows.extraction.run_time import Estimate, RunTime
from reeldex.flows.extraction.search_notes import SearchNote, notes_from_json, notes_to_json
from reeldex.quantities import counted, duration
from reeldex.storage.json_codec import NotInJson, to_json
from reeldex.storage.schema import VideoOutcome

if TYPE_CHECKING:
    from reeldex.flows.extraction.shard_work import ShardReport
    from reeldex.flows.extraction.sources import FoundVideos
    from reeldex.storage.growth import Growth
    from reeldex.storage.schema import Span, VideoEntry
    from reeldex.storage.store import FeatureStore


_SHARDS_NAMED = 20  # in one message
_MOST_PROBLEMS = 1000


@dataclass(frozen=True)
class RunReport:
    """Result of one `extract` or `rerun`.

    - `shards_lost` maps the shards that did not finish to the reason. `ended_by` is the fault that ended the run early,
      if one did, and `shards_left` the number of shards that were then not started or not finished.
    - `shards_elsewhere` is the number of shards that other runs completed meanwhile, also between a failure of this run
      and its Retry; with one that an attempt published whose process then died before its result was kept.
    - `extracted_ok`, `extracted_failed` count the videos processed in this run; `extracted_now` those of `extracted_ok`
      that its latest attempt processed.
    - `videos` counts the videos of the source (of the store, for a rerun), `with_features` those with features; None
      and 0 where they are not known.
    - `failed_by_reason` counts all videos of the source (of the store, for a rerun) without features,
      including failures of earlier runs; `truncated` those whose features end early; `noted` those with each note.
    - `seconds_of_work` to `waiting_seconds`, and `wall_seconds` to `fetching_seconds`, are those of `RunTime`.
    - `new`, `changed`, `unchanged`, `duplicates` count the videos found in the source, `gone` those of the store
      that are not in the source, `unsettled` those left to the next run because they may still be being written.
    - `notes` count what the search of the source passed over, and files with equal names.
    - `ffmpeg_versions` counts the shards of the store by the version of ffmpeg that decoded them.
    - `problems` are the outcomes of up to 1000 of those videos that failed, were truncated or have notes;
      `problem_count` is how many there are. They are not part of the JSON.
    """

    store: str
    shards_done: int
    shards_lost: Mapping[int, str]
    extracted_ok: int
    extracted_failed: int
    seconds_of_video: float
    seconds_of_work: float
    device_seconds: float
    waiting_seconds: float
    failed_by_reason: Mapping[str, int]
    truncated: int
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    duplicates: int = 0
    gone: int = 0
    unsettled: int = 0
    noted: Mapping[str, int] = field(default_factory=dict)
    ffmpeg_versions: Mapping[str, int] = field(default_factory=dict)
    videos: int | None = None
    with_features: int = 0
    extracted_now: int = 0
    shards_left: int = 0
    shards_elsewhere: int = 0
    ended_by: str = ""
    wall_seconds: float = 0.0
    devices: int = 1
    estimate: Estimate | None = None
    fetching_seconds: float = 0.0
    notes: tuple[SearchNote, ...] = ()
    problem_count: Annotated[int, NotInJson] = 0
    problems: Annotated[tuple[VideoOutcome, ...], NotInJson] = ()

    @property
    def without_features(self) -> int:
        """The number of videos without features, failed or not extracted yet."""
        failed = sum(self.failed_by_reason.values())
        return failed if self.videos is None else max(failed, self.videos - self.with_features)

    @property
    def succeeded(self) -> bool:
        """Whether the whole source was searched, every shard is done and every video has its features."""
        return not self.shards_lost and not self.failed_by_reason and not any(note.is_failure for note in self.notes)

    @property
    def time(self) -> RunTime:
        """Where the time went."""
        return RunTime(
            self.seconds_of_video,
            self.seconds_of_work,
            self.device_seconds,
            self.waiting_seconds,
            self.wall_seconds,
            self.devices,
            self.estimate,
            self.fetching_seconds,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, and the figures of `time`."""
        found: dict[str, Any] = {**to_json(self), "time": self.time.to_json()}
        return found

    def __str__(self) -> str:
        if self.shards_done or self.shards_lost or self.shards_elsewhere:
            extracted = f"{counted(self.extracted_ok, 'video')} extracted"
            if self.videos is not None and self.with_features != self.extracted_ok:
                extracted = (
                    f"{self.with_features:,} of {self.videos:,} have features, {self.extracted_now:,} from this attempt"
                )
            text = (
                f"{extracted}, {self.extracted_failed:,} failed, "
                f"{counted(self.shards_done, 'shard')} done; "
                f"{duration(self.seconds_of_video)} of video at {self.time.speed:.2f} s of video per second"
            )
        else:
            text = "nothing to do"
        if self.shards_elsewhere:
            text += f"; {counted(self.shards_elsewhere, 'shard')} completed by other runs"
        if self.unsettled:
            text += f"; {counted(self.unsettled, 'video')} left to the next run, because modified just now"
        if self.shards_lost:
            names = [f"{shard:05d}" for shard in self.shards_lost]
            more = f" and {len(names) - _SHARDS_NAMED} more" if len(names) > _SHARDS_NAMED else ""
            text += f"; {counted(len(names), 'shard')} LOST: {', '.join(names[:_SHARDS_NAMED])}{more}"
        if self.shards_left:
            text += f"; {counted(self.shards_left, 'shard')} left, because the run ended early"
        return text


class ShardsLostError(Exception):
    """Some shards did not finish, because of an infrastructure error or a bug. `report` is the report on the run."""

    def __init__(self, report: RunReport) -> None:
        by_reason: dict[str, list[str]] = {}
        for shard, why in report.shards_lost.items():
            by_reason.setdefault(why, []).append(f"{shard:05d}")
        reasons = "; ".join(
            f"shard {', '.join(shards[:_SHARDS_NAMED])}"
            f"{f' and {len(shards) - _SHARDS_NAMED} more' if len(shards) > _SHARDS_NAMED else ''}: {why}"
            for why, shards in by_reason.items()
        )
        text = f"{report.ended_by} {report}." if report.ended_by else f"{report}. {reasons}"
        super().__init__(
            f"{text} Finished videos are kept. Fix the cause, then press Retry, or run `reeldex rerun {report.store}`."
        )
        self.report = report


def sum_up(
    store: FeatureStore,
    reports: Sequence[ShardReport],
    lost: Mapping[int, str],
    outcomes: Sequence[VideoOutcome],
    found_counts: Mapping[str, Any] | None = None,
) -> RunReport:
    """Return the report on a run, from the reports of its shards and the current `outcomes` of its videos.

    `found_counts` are the fields of RunReport that `count_found` returns.
    """
    counts = dict(found_counts or {})
    notes = notes_from_json(counts.pop("notes", ()))
    problems = [each for each in outcomes if each.reason] + [
        each for each in outcomes if each.notes and not each.reason
    ]
    noted = Counter(note for each in outcomes for note in each.notes)
    failures = Counter(each.reason or "" for each in outcomes if each.status == "failed")
    return RunReport(
        store=str(store.path),
        shards_done=len(reports),
        shards_lost=lost,
        extracted_ok=sum(each.ok for each in reports),
        extracted_failed=sum(each.failed for each in reports),
        seconds_of_video=sum(each.seconds_of_video for each in reports),
        seconds_of_work=sum(each.seconds_of_work for each in reports),
        device_seconds=sum(each.device_seconds for each in reports),
        waiting_seconds=sum(each.waiting_seconds for each in reports),
        fetching_seconds=sum(each.fetching_seconds for each in reports),
        failed_by_reason=dict(sorted(failures.items())),
        truncated=sum(each.truncated for each in outcomes),
        with_features=sum(bool(each.rows) for each in outcomes),
        **counts,
        notes=notes,
        noted=dict(sorted(noted.items())),
        ffmpeg_versions=store.ffmpeg_versions(),
        problem_count=len(problems),
        problems=tuple(problems[:_MOST_PROBLEMS]),
    )


def count_found(growth: Growth, found: FoundVideos) -> dict[str, Any]:
    """Return the fields of RunReport that say what a source holds, as JSON values."""
    return {
        "new": growth.new,
        "changed": growth.changed,
        "unchanged": growth.unchanged,
        "duplicates": growth.duplicates,
        "gone": growth.gone,
        "unsettled": len(found.unsettled),
        "notes": notes_to_json(found.notes),
    }


def present_entries(store: FeatureStore) -> list[VideoEntry]:
    """Return the entries of all videos that have not left their source: those that `present_outcomes` is about."""
    left = _left(store)
    return [entry for entry in store.current_entries() if entry.video_id not in left]


def _left(store: FeatureStore) -> frozenset[str]:
    searches = store.searches()
    return searches.left if searches is not None else frozenset()


def present_outcomes(store: FeatureStore, found: Sequence[VideoEntry] | None = None) -> list[VideoOutcome]:
    """Return the current outcomes of the videos `found`, or of all that have not left their source.

    Without superseded, forgotten and pending ones. A file is matched by its path (a clip by its span as well), which
    also distinguishes two files with one id; a moved file by its id.
    """
    by_place: dict[tuple[str, Span | None], VideoOutcome] = {}
    forgotten = store.forgotten().positions
    manifests = store.manifests() if found is None else store.manifests_with(paths={entry.path for entry in found})
    for manifest in manifests:
        outcomes = store.outcomes(manifest.shard)
        for position, entry in enumerate(manifest.videos):
            by_place.pop(entry.place, None)
            if outcomes is not None and (manifest.shard, position) not in forgotten:
                by_place[entry.place] = outcomes.videos[position]
    if found is None:
        left = _left(store)
        return [outcome for outcome in by_place.values() if outcome.video_id not in left]
    present = [by_place.get(entry.place) or store.outcome(entry.video_id) for entry in found]
    return [outcome for outcome in present if outcome is not None]
