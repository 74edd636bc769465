"""What is on disk for a shard: outcomes, feature files, staged videos, and so what is left to do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.damage import damaged_files
from reeldex.storage.errors import StoreDamagedError
from reeldex.storage.manifest import ShardManifest
from reeldex.storage.outcomes import ShardOutcomes, read_outcomes
from reeldex.storage.resume import needed_spaces, staged_suffices
from reeldex.storage.schema import FeatureSpace, VideoOutcome
from reeldex.storage.shard import ShardReader
from reeldex.storage.staging import Staging
from reeldex.storage.system_errors import FileVersion, file_version, reading

_FOUND_DAMAGED = "was found damaged by a verification; `reeldex rerun` extracts it again."


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
    """What is on disk for a shard. A plain value: another process can use it, see `renew`.

    `held` maps each wanted space to the ids with intact rows. `versions` are those of the outcomes file and of each
    space's feature file, from before they were read. `uncounted` are the positions of superseded and forgotten videos,
    which are never extracted.
    """

    manifest: ShardManifest
    spaces: tuple[FeatureSpace, ...]
    outcomes: ShardOutcomes | None
    held: Mapping[str, frozenset[str]]
    missing: tuple[str, ...]
    staged: Mapping[int, VideoOutcome]
    problems: tuple[str, ...]
    versions: tuple[FileVersion | None, ...]
    uncounted: frozenset[int] = frozenset()

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
            if position in self.uncounted:
                continue
            # As if it had no outcome yet.
            previous = None if position in redo else self.previous(position)
            needed = needed_spaces(entry, previous, names, self.held, retry)
            staged = self.staged.get(position)
            if needed and not (staged and staged_suffices(staged, needed)):
                pending.append(position)
        return tuple(pending)


def inspect_shard(
    root: Path, manifest: ShardManifest, spaces: Sequence[FeatureSpace], uncounted: frozenset[int] = frozenset()
) -> Inspection:
    """Inspect a shard's outcomes, feature files and staged videos, without hashing files of the right size.

    A damaged file becomes a problem, also one that a verification has recorded. A file that the system does not allow
    reading raises StoreUnreadableError: its state is unknown, so nothing can be planned.
    """
    versions = shard_versions(root, manifest.shard, spaces)
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
            ids, problem = frozenset[str](), f"{path} {_FOUND_DAMAGED}"
        else:
            ids, problem = _look_at_file(root, manifest.shard, space, outcomes)
        held[space.name] = ids
        if problem:
            problems.append(problem)
        if problem or outcomes is None or space.name not in outcomes.files:
            missing.append(space.name)
    staged = _staged(root, manifest, outcomes, problems)
    return Inspection(
        manifest,
        tuple(spaces),
        outcomes,
        held,
        tuple(missing),
        staged,
        tuple(problems),
        versions,
        uncounted,
    )


def renew(
    root: Path, known: Inspection, spaces: Sequence[FeatureSpace], uncounted: frozenset[int] = frozenset()
) -> Inspection:
    """Return an earlier inspection as of now, in these spaces: only what may have changed since is read again.

    Staged videos always are; outcomes and feature files, if one of them was replaced or the spaces are others.
    """
    if not _has_inspected(known, spaces) or shard_versions(root, known.manifest.shard, spaces) != known.versions:
        return inspect_shard(root, known.manifest, spaces, uncounted)
    staged = _staged(root, known.manifest, known.outcomes, [])
    return replace(known, spaces=tuple(spaces), staged=staged, uncounted=uncounted)


def _has_inspected(known: Inspection, spaces: Sequence[FeatureSpace]) -> bool:
    """Return whether an inspection holds for these spaces; settings do not matter where no file is recorded."""
    recorded = known.outcomes.files if known.outcomes else {}
    return len(spaces) == len(known.spaces) and all(
        before == now or (before.name == now.name and now.name not in recorded)
        for before, now in zip(known.spaces, spaces, strict=True)
    )


def shard_versions(root: Path, shard: int, spaces: Sequence[FeatureSpace]) -> tuple[FileVersion | None, ...]:
    """Return the versions of a shard's outcomes, of its record of damage, and of its feature files in these spaces."""
    files = [layout.features_file(root, space.name, shard) for space in spaces]
    return tuple(map(file_version, [layout.outcomes_file(root, shard), layout.damage_file(root, shard), *files]))


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
        except KeyError:
            # Another run, which has claimed the shard, has published or discarded it since the folder was listed.
            continue
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
