"""Imports .npy features into a store as new shards, or as a further space of shards that it has."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal

from reeldex.storage.documents import canonical_json
from reeldex.storage.durations import seconds_covered
from reeldex.storage.errors import StoreError
from reeldex.storage.growth import plan_growth
from reeldex.storage.manifest import ShardManifest
from reeldex.storage.npy_space import ORIGIN, NpySpace, find_spaces
from reeldex.storage.schema import JSON, FeatureRows, FeatureSpace, VideoEntry, VideoOutcome
from reeldex.storage.shard import RowTiming
from reeldex.storage.store import FeatureStore

Spaces = Mapping[str, NpySpace]


@dataclass(frozen=True)
class ImportReport:
    """Counts of an import: videos imported, and videos skipped because the store already has their features.

    `not_normalised` counts the files without a record whose rows are not L2-normalised. `differing` of the videos that
    were already there have other rows in the store, which stay. `lacking` videos were not imported although the store
    has no such features of them: there, they failed or are not extracted yet.
    """

    imported: int
    already_there: int
    not_normalised: int = 0
    differing: int = 0
    lacking: int = 0


def import_npy(
    folder: Path,
    store: FeatureStore,
    *,
    seconds_per_row: Mapping[str, float],
    videos_per_shard: int = 128,
) -> ImportReport:
    """Import `folder/<space>/<video id>.npy` files, (R, D) float16, into a store.

    A space that `export_npy` wrote gets back its fingerprint, times, durations, outcomes and paths; of another one,
    `seconds_per_row` gives the time between rows. Raises as `import_spaces` does, and StoreError for a folder
    without such files and a space without `seconds_per_row`.
    """
    return import_spaces(find_spaces(folder, seconds_per_row), store, videos_per_shard=videos_per_shard)


def import_spaces(spaces: Spaces, store: FeatureStore, *, videos_per_shard: int = 128) -> ImportReport:
    """Import the files of feature spaces into a store.

    Videos that the store does not know go into new shards. A space that a finished shard lacks is added to it if the
    files cover all its videos. Every file is checked before anything is written; run a killed import again to resume
    it. Hold the store's lock while it runs. Raises StoreError for a file that is not a finite (R, D) float16 array or
    not what was exported; FingerprintError when the store's features of a space have other settings;
    StoreUnreadableError for a file or folder that the system does not allow reading.
    """
    unlike = {name: each.check() for name, each in spaces.items()}
    for each in spaces.values():
        store.require_fingerprint(each.space)
    additions = _additions(store, spaces)
    ids = _distinct_ids(spaces)
    new = [_Planned.of(video_id, spaces) for video_id in sorted(ids) if store.entry(video_id) is None]
    # A shard has the same spaces for all its videos, and one provenance.
    for _, group in groupby(sorted(new, key=lambda each: each.key), lambda each: each.key):
        planned = list(group)
        growth = plan_growth(
            store.manifests(),
            [each.entry for each in planned],
            videos_per_shard=videos_per_shard,
            spaces=planned[0].spaces,
            exists=lambda path: Path(path).exists(),
            forgotten=store.forgotten().positions,
        )
        store.add_shards(growth.new_shards)
    imported = _fill_shards(store, spaces)
    imported += sum(_add_spaces(store, manifest, names, spaces) for manifest, names in additions)
    unrecorded = sum(count for name, count in unlike.items() if spaces[name].sidecar is None)
    kept = Counter(_why_kept(store, spaces, video_id) for video_id in ids)
    there = len(ids) - imported - kept["lacking"]
    return ImportReport(imported, there, unrecorded, kept["differing"], kept["lacking"])


def _why_kept(store: FeatureStore, spaces: Spaces, video_id: str) -> Literal["same", "differing", "lacking"]:
    """Return how the store's features of a video, after an import, relate to its files."""
    outcome = store.outcome(video_id)
    held = [each for each in spaces.values() if video_id in each.files]
    if outcome is None or any(each.space.name not in outcome.rows for each in held):
        return "lacking"
    same = all(store.rows_sha256(each.space.name, video_id) == each.sha256(video_id) for each in held)
    return "same" if same else "differing"


def _distinct_ids(spaces: Spaces) -> set[str]:
    """Return the ids of all files; raises StoreError for two that a store takes for one video."""
    ids = {video_id for each in spaces.values() for video_id in each.files}
    spelled: dict[str, str] = {}
    for video_id in sorted(ids):
        other = spelled.setdefault(unicodedata.normalize("NFC", video_id), video_id)
        if other != video_id:
            raise StoreError(
                f"The names {other!a} and {video_id!a} differ only in the Unicode form of accents, and a store "
                "takes them for one video. Rename the files of one of them."
            )
    return ids


@dataclass(frozen=True)
class _Planned:
    """A video to be imported; videos of one `key` can share a shard."""

    entry: VideoEntry
    spaces: tuple[str, ...]
    provenance: str

    @property
    def key(self) -> tuple[tuple[str, ...], str]:
        return self.spaces, self.provenance

    @classmethod
    def of(cls, video_id: str, spaces: Spaces) -> _Planned:
        names = tuple(name for name in sorted(spaces) if video_id in spaces[name].files)
        entry = _entry(video_id, [spaces[name] for name in names])
        return cls(entry, names, canonical_json(_provenance([video_id], [spaces[name] for name in names])))


def _entry(video_id: str, spaces: Sequence[NpySpace]) -> VideoEntry:
    """Return the video of these files; raises StoreError when they were exported from different versions of it."""
    recorded = [each.entry(video_id) for each in spaces if each.sidecar]
    if any(each != recorded[0] for each in recorded):
        paths = " and ".join(dict.fromkeys(each.path for each in recorded))
        raise StoreError(
            f"The features of {video_id!r} in {' and '.join(each.space.name for each in spaces)} were extracted from "
            f"different files or versions of a file ({paths}). Import the spaces into different stores."
        )
    return recorded[0] if recorded else spaces[0].entry(video_id)


def _fill_shards(store: FeatureStore, spaces: Spaces) -> int:
    """Stage and publish each unfinished shard of these files; return the number of their videos."""
    imported = 0
    for manifest in store.manifests():
        if not all(_is_planned(entry, manifest, spaces) for entry in manifest.videos):
            continue
        wanted = [spaces[name] for name in manifest.spaces]
        inspection = store.inspect(manifest.shard, [each.space for each in wanted])
        # Nothing is pending either where features were removed.
        if inspection.state().done or not (inspection.pending(()) or inspection.staged):
            continue
        _publish(store, manifest, wanted)
        imported += len(manifest.videos)
    return imported


def _is_planned(entry: VideoEntry, manifest: ShardManifest, spaces: Spaces) -> bool:
    """Return whether an entry of a manifest is the one that an import of these files plans."""
    names = manifest.spaces
    if not names or not all(name in spaces and entry.video_id in spaces[name].files for name in names):
        return False
    recorded = [spaces[name] for name in names if spaces[name].sidecar]
    return (recorded or [spaces[name] for name in names])[0].has_entry(entry)


def _additions(store: FeatureStore, spaces: Spaces) -> list[tuple[ShardManifest, tuple[str, ...]]]:
    """Return the finished shards to which the files add spaces, with their names.

    Videos that no longer count need no files. Raises StoreError when the files cover only some videos of a shard: a
    feature file holds all of them.
    """
    found = []
    for manifest in store.manifests():
        outcomes = store.outcomes(manifest.shard)
        uncounted = store.uncounted(manifest.shard)
        videos = outcomes.videos if outcomes else ()
        held = {each.video_id: each for at, each in enumerate(videos) if each.status == "ok" and at not in uncounted}
        added = []
        for name in sorted(spaces):
            lacking = [video_id for video_id, each in held.items() if name not in each.rows]
            covered = [video_id for video_id in lacking if video_id in spaces[name].files]
            if not covered:
                continue
            if len(covered) < len(lacking):
                without = next(video_id for video_id in lacking if video_id not in spaces[name].files)
                raise StoreError(
                    f"{name} cannot be added to shard {manifest.shard} of {store.path}: there are files of "
                    f"{len(covered)} of its videos, and none of {without!r}. Import all spaces at once into a new "
                    "store (folders <space>/ in one folder): videos that lack a space are then kept apart."
                )
            _require_same_videos(manifest, spaces[name], covered)
            added.append(name)
        if added:
            found.append((manifest, tuple(added)))
    return found


def _require_same_videos(manifest: ShardManifest, added: NpySpace, ids: Sequence[str]) -> None:
    """Raise StoreError when exported features are not those of the file that the store knows."""
    for entry in manifest.videos if added.sidecar else ():
        if entry.video_id in ids and not entry.same_file(added.entry(entry.video_id)):
            raise StoreError(
                f"{added.space.name} of {entry.video_id!r} was extracted from {added.entry(entry.video_id).path}, and "
                f"the store's features from {entry.path}, of another size or modification time. Import it into another "
                "store: features of two versions of a video must not mix."
            )


def _add_spaces(store: FeatureStore, manifest: ShardManifest, names: Sequence[str], spaces: Spaces) -> int:
    _publish(store, manifest, [spaces[name] for name in names])
    outcomes, uncounted = store.outcomes(manifest.shard), store.uncounted(manifest.shard)
    current = [each for at, each in enumerate(outcomes.videos if outcomes else ()) if at not in uncounted]
    return sum(all(name in each.rows for name in names) for each in current)


def _publish(store: FeatureStore, manifest: ShardManifest, wanted: Sequence[NpySpace]) -> None:
    staging, feature_spaces = store.staging(manifest.shard), [each.space for each in wanted]
    for position in store.pending_positions(manifest.shard, feature_spaces):
        entry = manifest.videos[position]
        features = {each.space: each.rows(entry.video_id) for each in wanted}
        staging.put(position, _outcome(entry, features, wanted), features)
    ids = [entry.video_id for entry in manifest.videos if entry.video_id in wanted[0].files]
    store.publish_shard(manifest.shard, feature_spaces, provenance=_provenance(ids, wanted), seconds_of_work=0.0)


def _outcome(
    entry: VideoEntry, features: Mapping[FeatureSpace, FeatureRows], wanted: Sequence[NpySpace]
) -> VideoOutcome:
    """Return the exported outcome of a video, else one with the duration that its rows cover."""
    exported = next((found for each in wanted if (found := each.outcome(entry.video_id))), None)
    if exported:
        return replace(exported, path=entry.path, rows={})
    timings = [RowTiming(len(each.rows), each.start_seconds, each.seconds_per_row) for each in features.values()]
    return VideoOutcome(
        entry.video_id, entry.path, "ok", None, "", attempts=1, duration_seconds=seconds_covered(timings)
    )


def _provenance(ids: Sequence[str], wanted: Sequence[NpySpace]) -> dict[str, JSON]:
    """Return what is recorded of how these features were made: what all agree on, and what is known by space."""
    known = [each.provenance(video_id) for video_id in ids for each in wanted]
    shared = {key: value for key, value in known[0].items() if all(each.get(key) == value for each in known)}
    by_space = {
        each.space.name: dict(each.provenance(video_id))
        for video_id in ids[:1]
        for each in wanted
        if any(one != known[0] for one in known)
    }
    claimed = [each.space.name for each in wanted if each.space.fingerprint.get("claimed")]
    return {
        "origin": ORIGIN,
        **shared,
        **({"by_space": by_space} if by_space else {}),
        **({"claimed": claimed} if claimed else {}),
    }
