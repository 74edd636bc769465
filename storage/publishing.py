"""Inspects shards and publishes their feature files and outcomes; safe against a kill at any point."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.damage import damaged_files, forget_damage
from reeldex.storage.errors import StagingIncompleteError, StoreDamagedError, UnknownVideoError
from reeldex.storage.hashing import extent_is_intact
from reeldex.storage.manifest import ShardManifest
from reeldex.storage.outcomes import FileRecord, ShardOutcomes, read_outcomes, write_outcomes
from reeldex.storage.presence import require_present
from reeldex.storage.resume import merge_outcome, needed_spaces, staged_suffices
from reeldex.storage.schema import JSON, FeatureRows, FeatureSpace, VideoOutcome
from reeldex.storage.shard import ShardReader, write_shard
from reeldex.storage.staging import Staging
from reeldex.storage.system_errors import reading


@dataclass(frozen=True)
class ShardState:
    """The progress of a shard in the wanted spaces.

    `missing_spaces` names those without an intact file. `staged_positions` are videos that wait to be
    published; a finished shard has some if a retry was killed before publishing. `problems` describes what is
    damaged.
    """

    shard: int
    done: bool
    missing_spaces: tuple[str, ...]
    staged_positions: tuple[int, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """What is on disk for a shard; `held` maps each wanted space to the ids with intact rows.

    `forgotten` are positions whose failures are never retried.
    """

    manifest: ShardManifest
    spaces: tuple[FeatureSpace, ...]
    outcomes: ShardOutcomes | None
    held: Mapping[str, frozenset[str]]
    missing: tuple[str, ...]
    staged: Mapping[int, VideoOutcome]
    problems: tuple[str, ...]
    forgotten: frozenset[int] = frozenset()

    def state(self) -> ShardState:
        """Return the summary of this inspection."""
        return ShardState(
            shard=self.manifest.shard,
            done=self.outcomes is not None and not self.missing,
            missing_spaces=self.missing,
            staged_positions=tuple(self.staged),
            problems=self.problems,
        )

    def previous(self, position: int) -> VideoOutcome | None:
        """Return the recorded outcome of the video at this position."""
        return self.outcomes.videos[position] if self.outcomes else None

    def pending(self, retry: Collection[str], redo: Collection[int] = ()) -> tuple[int, ...]:
        """Return the positions that still need extraction; those in `redo` do unless they are staged."""
        names = [space.name for space in self.spaces]
        pending = []
        for position, entry in enumerate(self.manifest.videos):
            # As if it had no outcome yet.
            previous = None if position in redo else self.previous(position)
            again = () if position in self.forgotten else retry
            needed = needed_spaces(entry, previous, names, self.held, again)
            staged = self.staged.get(position)
            if needed and not (staged and staged_suffices(staged, needed)):
                pending.append(position)
        return tuple(pending)


def inspect_shard(
    root: Path, manifest: ShardManifest, spaces: Sequence[FeatureSpace], forgotten: frozenset[int] = frozenset()
) -> Inspection:
    """Inspect a shard's outcomes, feature files and staged videos, without hashing files of the right size.

    A damaged file becomes a problem, also one that a verification has recorded. A file that the system does not allow
    reading raises StoreUnreadableError: its state is unknown, so nothing can be planned.
    """
    problems: list[str] = []
    outcomes: ShardOutcomes | None = None
    try:
        outcomes = read_outcomes(root, manifest.shard)
        if outcomes is not None and (disagreement := outcomes.disagreement(manifest)):
            problems.append(disagreement)
            outcomes = None
    except StoreDamagedError as error:
        problems.append(str(error))
    held: dict[str, frozenset[str]] = {}
    missing: list[str] = []
    damaged = damaged_files(root, outcomes)
    for space in spaces:
        problem: str | None
        if space.name in damaged:
            # Not opened: the HDF5 library might hang or crash on it.
            path = layout.features_file(root, space.name, manifest.shard)
            ids, problem = (
                frozenset[str](),
                f"{path} was found damaged by a verification; `reeldex rerun` extracts it again.",
            )
        else:
            ids, problem = _look_at_file(root, manifest.shard, space, outcomes)
        held[space.name] = ids
        if problem:
            problems.append(problem)
        if problem or outcomes is None or space.name not in outcomes.files:
            missing.append(space.name)
    staged = _staged(root, manifest, outcomes, problems)
    return Inspection(manifest, tuple(spaces), outcomes, held, tuple(missing), staged, tuple(problems), forgotten)


def publish_shard(
    root: Path,
    inspection: Inspection,
    provenance: Mapping[str, JSON],
    seconds_of_work: float,
) -> None:
    """Turn staged videos into feature files and outcomes, then empty the staging folder.

    Feature files come first, outcomes second, the cleanup last. A kill before the outcomes are written
    leaves the staged videos, from which a rerun writes the same bytes; after it, the outcomes name the staged
    files that they include, and a rerun only removes them. Raises StagingIncompleteError when videos are still
    to be extracted, StoreVanishedError when the store is gone.
    """
    require_present(root)
    manifest, staging = inspection.manifest, Staging(root, inspection.manifest.shard)
    if pending := inspection.pending(retry=()):
        raise StagingIncompleteError(
            f"Shard {manifest.shard} cannot be published: {len(pending)} of {len(manifest.videos)} videos are still "
            f"to be extracted, the first being {manifest.videos[pending[0]].video_id!r}. Run `reeldex rerun`."
        )
    newly_staged = {space for outcome in inspection.staged.values() for space in outcome.rows}
    rebuilt = [space for space in inspection.spaces if space.name in inspection.missing or space.name in newly_staged]
    if inspection.outcomes is not None and not rebuilt and not inspection.staged:
        staging.clear()
        return
    previous = [inspection.previous(position) for position in range(len(manifest.videos))]
    rows = [dict(outcome.rows) if outcome else {} for outcome in previous]
    files = dict(inspection.outcomes.files) if inspection.outcomes else {}
    for space in rebuilt:
        for counts in rows:
            counts.pop(space.name, None)
        path = layout.features_file(root, space.name, manifest.shard)
        items = _assemble(root, inspection, space, rows)
        write_shard(path, space, manifest.shard, items, provenance)
        with ShardReader(path) as reader:
            files[space.name] = FileRecord.of(root, path, reader.extents())
    wanted = [space.name for space in inspection.spaces]
    videos = tuple(
        merge_outcome(entry, previous[at], inspection.staged.get(at), rows[at], wanted)
        for at, entry in enumerate(manifest.videos)
    )
    before = inspection.outcomes.seconds_of_work if inspection.outcomes else 0.0
    absorbed = tuple(staging.token(position) for position in staging.positions())
    write_outcomes(
        root,
        ShardOutcomes(manifest.shard, videos, files, before + seconds_of_work, dict(provenance), absorbed),
    )
    staging.clear()
    forget_damage(root, manifest.shard, [space.name for space in rebuilt])


def _assemble(
    root: Path, inspection: Inspection, space: FeatureSpace, rows: Sequence[dict[str, int]]
) -> Iterator[tuple[str, FeatureRows]]:
    """Return each video's rows in the manifest's order, staged or present; record their counts in `rows`."""
    manifest, held = inspection.manifest, inspection.held[space.name]
    staging = Staging(root, manifest.shard)
    damaged = damaged_files(root, inspection.outcomes)
    present = layout.features_file(root, space.name, manifest.shard)
    with ShardReader(present) if held else nullcontext() as reader:
        for position, entry in enumerate(manifest.videos):
            found = staging.rows(position, space) if position in inspection.staged else None
            previous = inspection.previous(position)
            recorded = previous is not None and space.name in previous.rows
            if found is None and reader and recorded and entry.video_id in held:
                found = reader.read(entry.video_id)
            if found is None and recorded and space.name in damaged:
                # It could not be extracted again, as when its file is gone; these rows may be the intact ones.
                found = _salvaged(present, inspection.outcomes, space.name, entry.video_id)
            if found is not None:
                rows[position][space.name] = found.rows.shape[0]
                yield entry.video_id, found


def _salvaged(path: Path, outcomes: ShardOutcomes | None, space: str, video_id: str) -> FeatureRows | None:
    """Return the rows of one video from a damaged file, None unless their bytes still have their hash."""
    extent = outcomes.files[space].extents.get(video_id) if outcomes is not None else None
    try:
        with reading(path):
            if extent is None or not extent_is_intact(path, extent):
                return None
        with ShardReader(path) as reader:
            return reader.read(video_id)
    except (FileNotFoundError, StoreDamagedError, UnknownVideoError):
        return None


def _staged(
    root: Path, manifest: ShardManifest, outcomes: ShardOutcomes | None, problems: list[str]
) -> dict[int, VideoOutcome]:
    """Return the outcomes of the intact staged videos by position; what is wrong with others is added to `problems`."""
    staging = Staging(root, manifest.shard)
    absorbed = frozenset(outcomes.absorbed if outcomes else ())
    staged = {}
    for position in staging.positions():
        try:
            if staging.token(position) not in absorbed:
                staged[position] = staging.outcome_of(position, manifest)
        except StoreDamagedError as error:
            problems.append(str(error))
    return staged


def _look_at_file(
    root: Path, shard: int, space: FeatureSpace, outcomes: ShardOutcomes | None
) -> tuple[frozenset[str], str | None]:
    """Return the ids with intact rows in a feature file, and what is wrong with the file."""
    if outcomes is None or space.name not in outcomes.files:
        return frozenset(), None
    record = outcomes.files[space.name]
    path = root / record.name
    try:
        with ShardReader(path) as reader:
            if reader.shard != shard or reader.space != space:
                return frozenset(), (
                    f"{path} belongs to shard {reader.shard} and space {reader.space.name} with the settings "
                    f"{reader.space.fingerprint_json()}, not of shard {shard} and {space.name} with "
                    f"{space.fingerprint_json()}. `reeldex rerun` extracts it again."
                )
            ids = frozenset(reader.ids())
            with reading(path):
                size_bytes = path.stat().st_size
            expected = {outcome.video_id for outcome in outcomes.videos if space.name in outcome.rows}
            if size_bytes == record.size_bytes and ids == expected:
                return ids, None
            # A run killed between publishing this file and the outcomes leaves an intact file that does not match them.
            intact = ids - {video_id for video_id, _ in reader.check()}
            return intact, (
                f"{path} does not match the shard's outcomes: {size_bytes} bytes with {len(ids)} videos instead of "
                f"{record.size_bytes} bytes with {len(expected)}. `reeldex rerun` extracts it again."
            )
    except (FileNotFoundError, StoreDamagedError) as error:
        return frozenset(), str(error)
