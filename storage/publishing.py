"""Publishes a shard's feature files and outcomes; safe against a kill at any point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.damage import damaged_files, forget_damage
from reeldex.storage.errors import StagingIncompleteError, StoreDamagedError, UnknownVideoError
from reeldex.storage.hashing import extent_is_intact
from reeldex.storage.inspection import Inspection
from reeldex.storage.outcomes import FileRecord, ShardOutcomes, write_outcomes
from reeldex.storage.presence import require_present
from reeldex.storage.resume import merge_outcome, outcome_of_uncounted
from reeldex.storage.schema import JSON, FeatureRows, FeatureSpace
from reeldex.storage.shard import ShardReader
from reeldex.storage.shard_writing import write_shard
from reeldex.storage.staging import Staging
from reeldex.storage.system_errors import reading


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
        written = write_shard(path, space, manifest.shard, items, provenance, video_count=len(manifest.videos))
        files[space.name] = FileRecord.written(root, path, written)
    wanted = [space.name for space in inspection.spaces]
    videos = tuple(
        outcome_of_uncounted(entry, previous[at] or inspection.staged.get(at), rows[at])
        if at in inspection.uncounted
        else merge_outcome(entry, previous[at], inspection.staged.get(at), rows[at], wanted)
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
