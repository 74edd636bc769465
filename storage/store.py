"""FeatureStore: the entry point to a store of features on disk."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reeldex.storage import layout
from reeldex.storage.batch_reading import read_batch
from reeldex.storage.catalog import Catalog
from reeldex.storage.damage import record_findings
from reeldex.storage.errors import StoreError, UnknownSpaceError, UnknownVideoError
from reeldex.storage.ffmpeg_versions import store_versions
from reeldex.storage.fingerprints import published_space, recorded_space, require_fingerprints
from reeldex.storage.forgotten import Forgotten, add_forgotten, entries_of
from reeldex.storage.housekeeping import create_folders, require_folders, require_writable_folders, sweep
from reeldex.storage.inspection import Inspection, ShardState, inspect_shard, renew
from reeldex.storage.lock import hold_lock
from reeldex.storage.manifest import ShardManifest, write_manifest
from reeldex.storage.outcomes import ShardOutcomes
from reeldex.storage.presence import require_present
from reeldex.storage.publishing import publish_shard
from reeldex.storage.reading import OpenShards, span_rows
from reeldex.storage.records import set_aside_damaged
from reeldex.storage.schema import JSON, FeatureRows, FeatureSpace, VideoEntry, VideoOutcome
from reeldex.storage.searches import SearchedSource, Searches, read_searched_ids, read_searches, write_searches
from reeldex.storage.shard import RowTiming
from reeldex.storage.staging import Staging
from reeldex.storage.status import StoreStatus, collect_status
from reeldex.storage.verify import verify_store
from reeldex.storage.verify_report import VerifyReport
from reeldex.storage.video_table import VideoTable, list_videos


class FeatureStore:
    """A folder of features: read them by video and span, add videos, publish shards, verify files.

    Reading needs no lock and sees what other processes publish; hold `lock()` while writing. With `create`, an absent
    or empty folder becomes a store. Raises NotAStoreError for a folder that is not a store. Methods raise
    StoreDamagedError when a file that they need is damaged, and StoreUnreadableError when the system does not allow
    reading it: permissions, limits, a disk. The same files can be open with plain h5py in this process. Can be pickled,
    and used after a fork.
    """

    def __init__(self, path: str | Path, *, create: bool = False) -> None:
        self.path = Path(path)
        if create:
            create_folders(self.path)
        require_folders(self.path)
        self._catalog = Catalog(self.path)
        self._open_shards = OpenShards()

    def __reduce__(self) -> tuple[type[FeatureStore], tuple[Path]]:
        return FeatureStore, (self.path,)

    def __repr__(self) -> str:
        try:
            videos, shards = len(self._catalog.latest()), len(self.manifests())
            held = f"videos={videos}, shards={shards}, spaces={self.spaces()}"
        except StoreError as error:
            held = f"{type(error).__name__}: {error}"
        return f"FeatureStore({str(self.path)!r}, {held})"

    def close(self) -> None:
        """Close the feature files that are kept open; they are reopened when needed."""
        self._open_shards.close()

    # Adding videos

    @contextmanager
    def lock(self, wait_seconds: float = 0) -> Iterator[None]:
        """Hold the store's lock while the block runs; on entry, leftovers of killed runs are removed.

        Raises StoreBusyError, naming the holder, when it is not released within `wait_seconds`; UnwritableError where
        the store cannot be written, StoreVanishedError when it is gone.
        """
        require_present(self.path)
        with hold_lock(self.path, wait_seconds):
            sweep(self.path)
            yield

    def require_writable(self) -> None:
        """Raise UnwritableError if a folder of the store may not be written by this user; writes nothing."""
        require_writable_folders(self.path)

    def manifests(self) -> tuple[ShardManifest, ...]:
        """Return the manifests of all shards in order."""
        return self._catalog.manifests()

    def add_shards(self, new_shards: Iterable[ShardManifest]) -> None:
        """Write the manifests of new shards; raises StoreError when one already exists."""
        for manifest in new_shards:
            write_manifest(self.path, manifest)

    def forgotten(self) -> Forgotten:
        """Return the entries of manifests that no longer count."""
        return self._catalog.forgotten()

    def forget(self, names: Sequence[str]) -> dict[str, int]:
        """Stop counting videos, named by id or path; return how many entries of each were forgotten.

        Features are kept in their files, and a later scan that finds such a video adds it again. Requires the lock.
        Raises UnknownVideoError for a name that is not in the store, and then forgets nothing.
        """
        spelled = {name: self._spelling(name) for name in names}
        found = entries_of(self.manifests(), self.forgotten(), list(spelled.values()))
        if unknown := [name for name in names if not found[spelled[name]]]:
            near = _nearest(unknown[0], self._catalog.latest())
            raise UnknownVideoError(f"{self.path} has no video with the id or path {unknown[0]!r}.{near}")
        add_forgotten(self.path, [entry for entries in found.values() for entry in entries])
        return {name: len(found[spelled[name]]) for name in names}

    def current_entries(self) -> list[VideoEntry]:
        """Return the latest entry of every video, and duplicates; without superseded and forgotten ones."""
        found = []
        for manifest in self.manifests():
            uncounted = self.uncounted(manifest.shard)
            found += [entry for position, entry in enumerate(manifest.videos) if position not in uncounted]
        return found

    def uncounted(self, shard: int) -> frozenset[int]:
        """Return the positions of a shard whose videos do not count: superseded and forgotten ones."""
        return self._catalog.uncounted(shard)

    def searches(self) -> Searches | None:
        """Return the record of the sources that were searched for this store; None if there is none."""
        return read_searches(self.path)

    def searched_ids(self, source: SearchedSource) -> Collection[str]:
        """Return the ids that the last search of a source found."""
        return read_searched_ids(self.path, source)

    def record_searches(self, searches: Searches) -> None:
        """Publish the record of searched sources. Requires the lock."""
        write_searches(self.path, searches)

    def _spelling(self, name: str) -> str:
        known = self._catalog.find(name)
        return known[0] if known else name

    def staging(self, shard: int) -> Staging:
        """Return the staging area of one shard."""
        return Staging(self.path, self._catalog.manifest(shard).shard)

    def inspect(self, shard: int, spaces: Sequence[FeatureSpace], known: Inspection | None = None) -> Inspection:
        """Return what is on disk for a shard in these spaces; opens its files but does not hash them.

        With `known`, an earlier inspection of the shard, only what has changed since is opened again.
        """
        uncounted = self._catalog.uncounted(shard)
        if known is not None:
            return renew(self.path, known, spaces, uncounted)
        return inspect_shard(self.path, self._catalog.manifest(shard), spaces, uncounted)

    def shard_state(self, shard: int, spaces: Sequence[FeatureSpace]) -> ShardState:
        """Return the progress of a shard in these spaces; opens its files but does not hash them."""
        return self.inspect(shard, spaces).state()

    def pending_positions(
        self, shard: int, spaces: Sequence[FeatureSpace], retry: Collection[str] | None = None
    ) -> tuple[int, ...]:
        """Return the positions of the manifest that still need extraction for these spaces.

        Staged videos, duplicates and recorded failures do not, except failures with a reason in `retry`; and neither
        do superseded and forgotten videos.
        """
        return self.inspect(shard, spaces).pending(retry or ())

    def publish_shard(
        self,
        shard: int,
        spaces: Sequence[FeatureSpace],
        *,
        provenance: Mapping[str, JSON],
        seconds_of_work: float,
        known: Inspection | None = None,
    ) -> None:
        """Turn a shard's staged videos into feature files and outcomes; safe to repeat after a kill.

        Files of other spaces stay as they are. `known` is an earlier inspection, as for `inspect`. Raises
        StagingIncompleteError when videos are still to be extracted, FingerprintError when the store's features of a
        space were made with other settings.
        """
        self.require_fingerprint(*spaces)
        publish_shard(self.path, self.inspect(shard, spaces, known), provenance, seconds_of_work)

    # Spaces

    def spaces(self) -> list[str]:
        """Return the names of the spaces with published features, sorted."""
        held: set[str] = set()
        for manifest in self.manifests():
            outcomes = self._catalog.outcomes(manifest.shard)
            held.update(outcomes.files if outcomes else ())
        return sorted(held)

    def fingerprint(self, space: str) -> dict[str, JSON]:
        """Return a space with its settings; raises UnknownSpaceError."""
        found = published_space(self.path, space)
        if found is None:
            raise self._unknown_space(space)
        return dict(found[1].fingerprint)

    def recorded_space(self, space: str) -> FeatureSpace | None:
        """Return a space with the settings of its published or staged features; None if it has none yet."""
        return recorded_space(self.path, space)

    def require_fingerprint(self, *spaces: FeatureSpace) -> None:
        """Raise FingerprintError when published or staged features of one of these spaces have other settings."""
        require_fingerprints(self.path, spaces)

    # Reading

    def ids(self, space: str | None = None) -> list[str]:
        """Return the ids with features in this space, or in any; raises UnknownSpaceError."""
        if space is not None and space not in self.spaces():
            raise self._unknown_space(space)
        found = []
        for video_id, (shard, position, _) in self._catalog.latest().items():
            outcomes = self._catalog.outcomes(shard)
            rows = outcomes.videos[position].rows if outcomes else {}
            if rows if space is None else space in rows:
                found.append(video_id)
        return found

    def __contains__(self, video_id: object) -> bool:
        outcome = self.outcome(video_id) if isinstance(video_id, str) else None
        return bool(outcome and outcome.rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids())

    def __len__(self) -> int:
        return len(self.ids())

    def videos(self) -> VideoTable:
        """Return all videos with path, duration, rows and outcome, also those without features; prints as a table."""
        return list_videos(self._catalog)

    def outcomes(self, shard: int) -> ShardOutcomes | None:
        """Return the outcomes of a shard's videos, or None while it is unfinished."""
        return self._catalog.outcomes(shard)

    def entry(self, video_id: str) -> VideoEntry | None:
        """Return the latest entry of a video: path, size and modification time; None when it is unknown."""
        found = self._catalog.find(video_id)
        return found[3] if found else None

    def outcome(self, video_id: str) -> VideoOutcome | None:
        """Return the outcome of the latest version of a video; None when it is unknown or not extracted yet."""
        found = self._catalog.find(video_id)
        if found is None:
            return None
        outcomes = self._catalog.outcomes(found[1])
        return outcomes.videos[found[2]] if outcomes else None

    def read(self, space: str, video_id: str) -> npt.NDArray[np.float16]:
        """Return all rows of a video as (R, D) float16; raises as `rows` does."""
        return self.rows(space, video_id).rows

    def rows(self, space: str, video_id: str) -> FeatureRows:
        """Return all rows of a video with their times, checked against their SHA-256.

        Raises UnknownSpaceError, and UnknownVideoError when the video is unknown, failed or not extracted
        yet.
        """
        path, stored_id = self._find(space, video_id)
        with self._open_shards.reader(path) as reader:
            return reader.read(stored_id)

    def read_span(self, space: str, video_id: str, start_seconds: float, end_seconds: float) -> npt.NDArray[np.float16]:
        """Return rows int(s * r) up to and including int(e * r) as (n, D) float16, r being the rows per second.

        Reads only those rows, unchecked. Clipped at the end of the video; n is 0 for a span beyond it. Raises
        ValueError for a negative, inverted or non-finite span, otherwise as `rows` does.
        """
        path, stored_id = self._find(space, video_id)
        with self._open_shards.reader(path) as reader:
            first, stop = span_rows(reader.timing(stored_id), start_seconds, end_seconds)
            return reader.read_rows(stored_id, first, stop)

    def read_many(
        self, space: str, video_ids: Sequence[str], spans: Sequence[tuple[float, float]] | None = None
    ) -> list[npt.NDArray[np.float16]]:
        """Return the rows of many videos as (R, D) float16 each, in the order given, opening each file once.

        With `spans`, (start, end) in seconds per video, only those rows, as `read_span` does. For training: call it in
        the `__getitems__` of a PyTorch data set. Raises as `read` and `read_span` do.
        """
        return read_batch(self._open_shards, lambda video_id: self._find(space, video_id), video_ids, spans)

    def rows_sha256(self, space: str, video_id: str) -> str:
        """Return the recorded SHA-256 of a video's rows (`hashing.rows_sha256`); raises as `rows` does."""
        path, stored_id = self._find(space, video_id)
        shard = layout.parse_shard_stem(path.stem)
        outcomes = self._catalog.outcomes(shard) if shard is not None else None
        if outcomes is None:
            raise self._unknown_space(space)
        return outcomes.files[space].extents[stored_id].sha256

    def provenance(self, space: str, video_id: str) -> dict[str, JSON]:
        """Return how a video's features were made, as far as it does not define them; raises as `rows` does."""
        with self._open_shards.reader(self.feature_file(space, video_id)) as reader:
            return dict(reader.provenance)

    def damaged_rows(self, space: str, video_id: str) -> tuple[tuple[int, int], ...] | None:
        """Return the ranges (first, stop) of a video's rows that may show damaged pictures, in order.

        Empty if there are none, None when unknown: the decoder reported errors that no row can be assigned to, or the
        features were imported or extracted before this was recorded. Raises as `rows` does.
        """
        path, stored_id = self._find(space, video_id)
        with self._open_shards.reader(path) as reader:
            return reader.damaged_rows(stored_id)

    def map_rows(self, space: str, video_id: str) -> tuple[RowTiming, npt.NDArray[np.float16]]:
        """Return the row times of a video and its rows as a read-only memory-mapped (R, D) float16 array.

        Pages are read when they are used, without a check. Raises as `rows` does.
        """
        path, stored_id = self._find(space, video_id)
        with self._open_shards.reader(path) as reader:
            return reader.map_rows(stored_id)

    def feature_file(self, space: str, video_id: str) -> Path:
        """Return the file with a video's features in a space; raises as `rows` does."""
        return self._find(space, video_id)[0]

    # Verifying

    def ffmpeg_versions(self) -> dict[str, int]:
        """Return the number of shards by the version of ffmpeg that decoded them."""
        return store_versions(self._catalog)

    def status(self) -> StoreStatus:
        """Count shards, videos, failures, rows and bytes."""
        return collect_status(self.path, self._catalog)

    def verify(self, progress: Callable[[int, int], None] | None = None) -> VerifyReport:
        """Re-read every byte and report damage; `progress` is called with (files checked, files in total)."""
        return verify_store(self.path, progress)

    def set_aside_records(self) -> list[str]:
        """Rename damaged records of forgotten videos, removed spaces and searches; return a sentence on each.

        Requires the lock.
        """
        return set_aside_damaged(self.path)

    def record_damage(self, report: VerifyReport) -> None:
        """Record the damaged feature files that a verification found, so that a rerun extracts them again.

        Records of files that it found intact are removed. Needs no lock: a record of a file that has been written
        again meanwhile does not count. Raises UnwritableError.
        """
        record_findings(self.path, report.damaged_files, report.intact_files)

    def _find(self, space: str, video_id: str) -> tuple[Path, str]:
        """Return the file with a video's rows, and the id under which it holds them."""
        found = self._catalog.find(video_id)
        if found is None:
            if space not in self.spaces():
                raise self._unknown_space(space)
            near = _nearest(video_id, self._catalog.latest())
            raise UnknownVideoError(
                f"{self.path} has no video {video_id!r}.{near} `reeldex status` shows what the store holds."
            )
        stored_id, shard, position, _ = found
        outcomes = self._catalog.outcomes(shard)
        outcome = outcomes.videos[position] if outcomes else None
        if outcome and space in outcome.rows:
            return layout.features_file(self.path, space, shard), stored_id
        if space not in self.spaces():
            raise self._unknown_space(space)
        if outcome is None or outcome.status == "ok":
            raise UnknownVideoError(
                f"The video {video_id!r} is planned but not extracted in {space} yet. Run `reeldex rerun {self.path}`."
            )
        raise UnknownVideoError(
            f"The video {video_id!r} has no features in {space}: its extraction failed as {outcome.reason} "
            f"({outcome.message}). `reeldex rerun {self.path} --failed-videos` tries it again."
        )

    def _unknown_space(self, space: str) -> UnknownSpaceError:
        held = self.spaces()
        return UnknownSpaceError(
            f"{self.path} has no feature space {space!r}.{_nearest(space, held)} It has: "
            f"{', '.join(held) or 'none yet'}."
        )


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
