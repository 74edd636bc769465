"""FeatureStore: the entry point to a store of features on disk."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.catalog import VIDEOS_KEPT
from reeldex.storage.claims import RunId, alone, claim_shard, shard_holder
from reeldex.storage.completeness import CompleteShards
from reeldex.storage.damage import record_findings
from reeldex.storage.errors import UnknownVideoError
from reeldex.storage.ffmpeg_versions import store_versions
from reeldex.storage.fingerprints import require_fingerprints
from reeldex.storage.forgotten import add_forgotten, entries_of
from reeldex.storage.housekeeping import (
    create_folders,
    require_folders,
    require_writable_folders,
    sweep,
    sweep_shard,
)
from reeldex.storage.inspection import Inspection, ShardState, inspect_shard, renew
from reeldex.storage.lease_record import LEASE_SECONDS
from reeldex.storage.location import store_path
from reeldex.storage.manifest import ShardManifest, write_manifest
from reeldex.storage.publishing import publish_shard
from reeldex.storage.readable_store import ReadableStore
from reeldex.storage.records import set_aside_damaged
from reeldex.storage.remote_path import refresh
from reeldex.storage.run_claims import RunClaim, join_runs, waiting_place
from reeldex.storage.schema import JSON, FeatureSpace
from reeldex.storage.searches import SearchedSource, Searches, read_searched_ids, read_searches, write_searches
from reeldex.storage.similar_names import nearest_of
from reeldex.storage.staging import Staging
from reeldex.storage.status import StoreStatus, collect_status
from reeldex.storage.system_errors import look_at
from reeldex.storage.verify import verify_store
from reeldex.storage.verify_report import VerifyReport
from reeldex.storage.verify_sample import Sample


class FeatureStore(ReadableStore):
    """A folder of features: read them by video and span, add videos, publish shards, verify files.

    The folder is on a disk, or in an object store: a URL such as `s3://bucket/store`.

    Reading needs no lock and sees what other processes publish; hold `lock()` while writing. With `create`, an absent
    or empty folder becomes a store. Raises NotAStoreError for a folder that is not a store. Methods raise
    StoreDamagedError when a file that they need is damaged, and StoreUnreadableError when the system does not allow
    reading it: permissions, limits, a disk. The same files can be open with plain h5py in this process. Can be pickled,
    and used after a fork.

    Entries and outcomes of `videos_kept` videos stay in memory, about 1.5 kB each, those used last; a lower number is
    enough for callers that go through the shards in order.
    """

    def __init__(self, path: str | Path, *, create: bool = False, videos_kept: int = VIDEOS_KEPT) -> None:
        folder = store_path(path)
        refresh(folder)
        if create:
            create_folders(folder)
        require_folders(folder)
        super().__init__(folder, videos_kept)
        self._videos_kept = videos_kept

    def __reduce__(self) -> tuple[Callable[..., FeatureStore], tuple[Path]]:
        return functools.partial(FeatureStore, videos_kept=self._videos_kept), (self.path,)

    # Adding videos

    @contextmanager
    def lock(self, wait_seconds: float = 0) -> Iterator[None]:
        """Hold the store's lock while the block runs; on entry, leftovers of killed runs are removed.

        Raises StoreBusyError, naming the holder, when it is not released within `wait_seconds`; UnwritableError where
        the store cannot be written, StoreVanishedError when it is gone.
        """
        with alone(self.path, wait_seconds):
            refresh(self.path)
            sweep(self.path)
            yield

    @contextmanager
    def claim(self, shard: int, *, run: RunId | None = None, lease_seconds: float = LEASE_SECONDS) -> Iterator[None]:
        """Hold the claim on a shard while the block runs, in which this thread may change the shard.

        On entry, its damaged staged videos are removed. `run` is the run that this process works for, `lease_seconds`
        how long it may show no sign of life. Raises ClaimHeldError when another live process has the claim, and
        ClaimLostError when another one has taken it over meanwhile: nothing has been changed since.
        """
        with claim_shard(self.path, shard, run=run, lease_seconds=lease_seconds):
            # The former holder may have published it a moment ago.
            refresh(self.path)
            if look_at(layout.staging_folder(self.path, shard)) is not None:
                sweep_shard(self.path, shard)
            yield

    @contextmanager
    def join(
        self, *, share: bool = False, wait_seconds: float = 0, lease_seconds: float = LEASE_SECONDS
    ) -> Iterator[RunClaim]:
        """Use the store as a run while the block runs: as the only one or, with `share`, beside other runs.

        Raises StoreBusyError, naming who uses the store, unless that ends within `wait_seconds`.
        """
        with join_runs(self.path, share=share, wait_seconds=wait_seconds, lease_seconds=lease_seconds) as claim:
            yield claim

    def waiting_place(self, request: str) -> AbstractContextManager[None]:
        """Hold the place of the run that waits with this request. Raises ClaimHeldError if another run holds it."""
        return waiting_place(self.path, request)

    def shard_holder(self, shard: int) -> str | None:
        """Return who works on a shard and since when; None if nobody alive does."""
        holder = shard_holder(self.path, shard)
        return None if holder is None else str(holder)

    def require_writable(self) -> None:
        """Raise UnwritableError if a folder of the store may not be written by this user; writes nothing."""
        require_writable_folders(self.path)

    def add_shards(self, new_shards: Iterable[ShardManifest]) -> None:
        """Write the manifests of new shards; raises StoreError when one already exists."""
        for manifest in new_shards:
            write_manifest(self.path, manifest)

    def forget(self, names: Sequence[str]) -> dict[str, int]:
        """Stop counting videos, named by id or path; return how many entries of each were forgotten.

        Features are kept in their files, and a later scan that finds such a video adds it again. Requires the lock.
        Raises UnknownVideoError for a name that is not in the store, and then forgets nothing.
        """
        spelled = {name: self._spelling(name) for name in names}
        found = entries_of(self.manifests(), self.forgotten(), list(spelled.values()))
        if unknown := [name for name in names if not found[spelled[name]]]:
            near = nearest_of(unknown[0], self.video_count(), self._catalog.latest)
            raise UnknownVideoError(f"{self.path} has no video with the id or path {unknown[0]!r}.{near}")
        add_forgotten(self.path, [entry for entries in found.values() for entry in entries])
        return {name: len(found[spelled[name]]) for name in names}

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

    def complete_shards(self) -> CompleteShards:
        """Return which shards are known to be complete without opening their files."""
        return CompleteShards(self._catalog)

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

    def require_fingerprint(self, *spaces: FeatureSpace) -> None:
        """Raise FingerprintError when published or staged features of one of these spaces have other settings."""
        require_fingerprints(self.path, spaces)

    # Verifying

    def ffmpeg_versions(self) -> dict[str, int]:
        """Return the number of shards by the version of ffmpeg that decoded them."""
        return store_versions(self._catalog)

    def status(self) -> StoreStatus:
        """Count shards, videos, failures, rows and bytes."""
        return collect_status(self.path, self._catalog)

    def verify(self, progress: Callable[[int, int], None] | None = None, sample: Sample | None = None) -> VerifyReport:
        """Re-read every byte, or that of a sample of the shards, and report damage.

        `progress` is called with (files checked, files in total).
        """
        refresh(self.path)
        return verify_store(self.path, progress, sample)

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
