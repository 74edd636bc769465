"""What the status of a store says of each shard, in numbers: derived from its outcomes, and cached for large stores."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import orjson

from reeldex.storage import layout
from reeldex.storage.catalog import Catalog
from reeldex.storage.derived import DerivedRows, RowKind, form_of
from reeldex.storage.json_codec import Integer, Number, Text, from_json, to_json
from reeldex.storage.outcomes import ShardOutcomes
from reeldex.storage.schema import VideoOutcome
from reeldex.storage.system_errors import FileVersion, file_versions


@dataclass(frozen=True, slots=True)
class SummarizedFile:
    """A feature file of a shard as its outcomes record it."""

    name: Text
    size_bytes: Integer


@dataclass(frozen=True, slots=True)
class ShardSummary:
    """Counts of the videos of a published shard, and its files by feature space.

    Superseded and forgotten videos do not count. Those that left their source are counted in `left`, by ok and failed,
    and in `seconds` and `rows` only.
    """

    ok: Integer
    truncated: Integer
    failed: Mapping[str, Integer]
    noted: Mapping[str, Integer]
    left: Mapping[str, Integer]
    rows: Mapping[str, Integer]
    seconds: Number
    seconds_of_work: Number
    ffmpeg: Text | None
    files: Mapping[str, SummarizedFile]


_KIND = RowKind("summary", form_of(ShardSummary))


def summarize(outcomes: ShardOutcomes, uncounted: Collection[int], gone: Collection[str]) -> ShardSummary:
    """Return the summary of a shard's outcomes; `gone` are the ids of videos that left their source."""
    failed: Counter[str] = Counter()
    noted: Counter[str] = Counter()
    left: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    ok = truncated = 0
    seconds = 0.0
    for at, outcome in enumerate(outcomes.videos):
        if at in uncounted:
            continue
        for space, count in outcome.rows.items():
            rows[space] += count
        if outcome.status == "ok":
            seconds += outcome.duration_seconds or 0.0
        if outcome.video_id in gone:
            left[outcome.status] += 1
        elif outcome.status == "ok":
            ok += 1
            truncated += outcome.truncated
            if outcome.notes:
                noted.update(outcome.notes)
        else:
            failed[_reason(outcome)] += 1
    ffmpeg = outcomes.provenance.get("ffmpeg")
    files = {space: SummarizedFile(record.name, record.size_bytes) for space, record in outcomes.files.items()}
    return ShardSummary(
        ok,
        truncated,
        failed,
        noted,
        left,
        rows,
        seconds,
        outcomes.seconds_of_work,
        ffmpeg if isinstance(ffmpeg, str) else None,
        files,
    )


class Summaries:
    """The summaries of a store's shards. Those of a large store come from the cache, unless they have changed.

    `gone` are the ids of videos that left their source.
    """

    def __init__(self, catalog: Catalog, gone: frozenset[str] = frozenset()) -> None:
        self._catalog = catalog
        self._gone = gone
        self._gone_at = catalog.index().positions_by_shard(gone) if gone else {}
        self._rows = DerivedRows(catalog.root, catalog.shard_count())
        self._cached = self._rows.read(_KIND)
        self._uncounted = catalog.uncounted_by_shard()
        self._versions = file_versions(catalog.root / layout.OUTCOMES)
        self._new: dict[int, tuple[str, bytes]] = {}

    def of(self, shard: int) -> ShardSummary | None:
        """Return the summary of a shard, None if it has no outcomes. Raises what reading them does."""
        return self._of(shard, counts=True)

    def files_of(self, shard: int) -> ShardSummary | None:
        """Return a summary as `of` does, in which only the files, their spaces and the version of ffmpeg are right."""
        return self._of(shard, counts=False)

    def _of(self, shard: int, *, counts: bool) -> ShardSummary | None:
        version = self._versions.get(layout.outcomes_file(self._catalog.root, shard).name)
        if version is None:
            return None
        uncounted = self._uncounted.get(shard, frozenset[int]())
        stated = _stated(version, uncounted, self._gone_at.get(shard, ()))
        known, content = self._cached.get(shard, ("", b""))
        if known == stated or (not counts and known.rpartition(" ")[0] == stated.rpartition(" ")[0]):
            return from_json(ShardSummary, orjson.loads(content))
        outcomes = self._catalog.read_outcomes(shard)
        if outcomes is None:
            return None
        summary = summarize(outcomes, uncounted, self._gone)
        # A duration that is taken from a feature file may change without the outcomes.
        if all(each.duration_seconds is not None for each in outcomes.videos if each.rows):
            self._new[shard] = (stated, orjson.dumps(to_json(summary)))
        return summary

    def keep(self) -> None:
        """Add the summaries that were made to the cache."""
        self._rows.write(_KIND, self._new)


def _stated(version: FileVersion, uncounted: Collection[int], gone: Collection[int]) -> str:
    """Return all that a summary depends on: the version of the outcomes, and which videos do not count, in short."""
    excluded = f"{sorted(uncounted)} {sorted(gone)}" if uncounted or gone else ""
    return f"{version} {hashlib.sha256(excluded.encode('ascii')).hexdigest()[:16] if excluded else '-'}"


def _reason(outcome: VideoOutcome) -> str:
    if outcome.reason is None:
        raise ValueError(f"The failed video {outcome.video_id!r} has no reason.")
    return outcome.reason
