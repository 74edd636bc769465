"""Checks the feature files of a store: their bytes against the recorded hashes, their content against the outcomes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.claims import PLANNING, STORE, leases_of
from reeldex.storage.damage import DamagedFile
from reeldex.storage.errors import StoreDamagedError, StoreUnreadableError
from reeldex.storage.hashing import extent_is_intact, file_sha256
from reeldex.storage.outcomes import FileRecord, ShardOutcomes, read_outcomes
from reeldex.storage.remote_path import refresh
from reeldex.storage.schema import FeatureSpace
from reeldex.storage.shard import ShardReader
from reeldex.storage.staging import Staging
from reeldex.storage.system_errors import file_version, look_at, reading
from reeldex.storage.verify_report import Findings, changed_meanwhile

REEXTRACT = "Run `reeldex rerun`, which extracts it again, or restore this file from a backup."


@dataclass(frozen=True)
class FeatureFiles:
    """The checks of feature files. The first file of each space defines the settings that all others must have."""

    root: Path
    found: Findings
    spaces: dict[str, tuple[str, FeatureSpace]] = field(default_factory=dict)

    def check(self, shard: int, space: str, record: FileRecord, outcomes: ShardOutcomes) -> None:
        """Check the file of a space; `record` and `outcomes` are what the shard's outcomes say of it.

        One that is replaced or removed while it is read is checked once more.
        """
        videos, damages = self.found.videos, len(self.found.damages)
        path = self.root / record.name
        before = file_version(path)
        try:
            self._check(shard, space, record, outcomes)
        except StoreUnreadableError as error:
            if not changed_meanwhile(error):
                raise
        else:
            if len(self.found.damages) == damages:
                return
            refresh(self.root)
            if file_version(path) == before:
                return
        self.found.videos = videos
        del self.found.damages[damages:]
        self.found.damaged.get(shard, {}).pop(space, None)
        self.found.intact.discard((shard, space))
        self._check(shard, space, record, outcomes)

    def _check(self, shard: int, space: str, record: FileRecord, outcomes: ShardOutcomes) -> None:
        path = self.root / record.name
        if not _matches(path, record):
            # Asked first: a shard that is published in between is found by its outcomes.
            unfinished = may_be_unfinished(self.root, shard)
            refresh(self.root)
            latest = latest_outcomes(self.root, shard)
            if latest is not None and latest.files.get(space) != record:
                # A running extraction or removal has written the file again since the outcomes were read.
                if space in latest.files:
                    self.check(shard, space, latest.files[space], latest)
            elif unfinished and _is_newer(path, layout.outcomes_file(self.root, shard)):
                self.found.read_file(path)
                self.found.without_outcomes(path)
            else:
                self._damaged_file(path, shard, space, record)
            return
        self.found.read_file(path)
        self.found.intact.add((shard, space))
        try:
            with ShardReader(path) as reader:
                ids = reader.ids()
                self.found.videos += len(ids)
                self._header(path, reader, shard, space)
                self._rows(path, reader, ids, space, outcomes)
        except StoreDamagedError as error:
            self.found.damage(path, str(error), REEXTRACT)

    def _damaged_file(self, path: Path, shard: int, space: str, record: FileRecord) -> None:
        status = look_at(path)
        if status is None:
            self.found.damage(path, "this file is missing although the shard's outcomes name it", REEXTRACT)
            return
        self.found.read_file(path)
        with reading(path):
            videos = self._damaged_features(path, status.st_size, record)
        self.found.damaged.setdefault(shard, {})[space] = DamagedFile(record.sha256, videos)

    def _damaged_features(self, path: Path, size_bytes: int, record: FileRecord) -> tuple[str, ...]:
        """Report and return the videos with damaged rows by reading plain bytes: HDF5 may hang or crash on this file.

        Empty if more than rows may be damaged.
        """
        self.found.videos += len(record.extents)
        damaged = [video_id for video_id, at in record.extents.items() if not extent_is_intact(path, at)]
        for video_id in damaged:
            self.found.damage(path, "its rows do not match their SHA-256", REEXTRACT, video_id)
        if size_bytes != record.size_bytes:
            self.found.damage(path, f"{size_bytes} bytes, {record.size_bytes} expected", REEXTRACT)
            return ()
        if not damaged:
            what = "bytes changed outside the rows: attributes or the structure of the file are damaged"
            self.found.damage(path, what, REEXTRACT)
        return tuple(damaged)

    def _header(self, path: Path, reader: ShardReader, shard: int, space: str) -> None:
        if reader.shard != shard or reader.space.name != space:
            self.found.damage(path, f"it records shard {reader.shard} and space {reader.space.name}", REEXTRACT)
        first, held = self.spaces.setdefault(space, (path.name, reader.space))
        if held.fingerprint_json() != reader.space.fingerprint_json():
            self.found.damage(path, f"its fingerprint differs from that of {first}", REEXTRACT)

    def _rows(self, path: Path, reader: ShardReader, ids: list[str], space: str, outcomes: ShardOutcomes) -> None:
        expected = {video.video_id: video.rows[space] for video in outcomes.videos if space in video.rows}
        for video_id in sorted(set(ids) - set(expected)):
            self.found.damage(path, "the shard's outcomes do not include this video's rows", REEXTRACT, video_id)
        for video_id, row_count in expected.items():
            if video_id not in ids:
                self.found.damage(path, f"its {row_count} rows are missing", REEXTRACT, video_id)
            elif (found := reader.timing(video_id).row_count) != row_count:
                self.found.damage(path, f"{found} rows instead of {row_count}", REEXTRACT, video_id)


def latest_outcomes(root: Path, shard: int) -> ShardOutcomes | None:
    """Return a shard's outcomes as of now; None if there are none, or damaged ones. Raises StoreUnreadableError."""
    with contextlib.suppress(StoreDamagedError):
        return read_outcomes(root, shard)
    return None


def may_be_unfinished(root: Path, shard: int) -> bool:
    """Whether a run may be between two steps of changing a shard, or was killed there. Raises StoreUnreadableError.

    Then somebody alive has claimed the shard, or the store to remove features, or staged videos are left.
    """
    leases, claims = leases_of(root), layout.claims_folder(root)
    with reading(claims):
        holders = [*leases.live(f"{layout.shard_stem(shard)}."), *leases.live(f"{STORE}.")]
    return any(each.purpose != PLANNING for each in holders) or bool(Staging(root, shard).positions())


def _is_newer(path: Path, outcomes: Path) -> bool:
    """Whether a feature file was written after its shard's outcomes, as far as times tell. Raises StoreUnreadableError.

    In object stores times are whole seconds, so that equal ones tell nothing.
    """
    file, document = look_at(path), look_at(outcomes)
    return file is not None and document is not None and file.st_mtime_ns >= document.st_mtime_ns


def _matches(path: Path, record: FileRecord) -> bool:
    """Whether a feature file has the recorded size and hash; raises StoreUnreadableError."""
    try:
        with reading(path):
            return (path.stat().st_size, file_sha256(path)) == (record.size_bytes, record.sha256)
    except FileNotFoundError:
        return False
