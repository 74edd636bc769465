"""Re-reads every byte of a store and reports what is damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.atomic import is_leftover
from reeldex.storage.damage import DamagedFile
from reeldex.storage.errors import StoreDamagedError, StoreUnreadableError
from reeldex.storage.hashing import extent_is_intact, file_sha256
from reeldex.storage.manifest import ShardManifest, read_manifest
from reeldex.storage.outcomes import FileRecord, ShardOutcomes, read_outcomes
from reeldex.storage.schema import FeatureSpace
from reeldex.storage.shard import ShardReader
from reeldex.storage.staging import Staging
from reeldex.storage.system_errors import Unreadable, is_folder, list_folder, look_at, reading

_REEXTRACT = "Run `reeldex rerun`, which extracts it again, or restore this file from a backup."
_UNNAMED = "Run `reeldex rerun`, which extracts what the outcomes lack, or move this file out of the store."
_MANIFEST = "Restore this file from a backup: it is the only record of which videos the shard holds."
_UNEXPECTED = "Move this file out of the store; reeldex did not create it."


@dataclass(frozen=True)
class Damage:
    """One finding: the file below the store, the video if known, what is wrong, and what to do."""

    file: str
    video_id: str | None
    what: str
    remedy: str


@dataclass(frozen=True)
class VerifyReport:
    """The result of a verification; `checked_bytes` counts the bytes of all files read.

    `unreadable` lists what the system did not allow reading: not checked, and not known to be damaged. Feature files
    whose content is not the recorded one are in `damaged_files` by shard and feature space, those that were read
    without a finding in `intact_files`: `FeatureStore.record_damage` records both.
    """

    checked_files: int
    checked_videos: int
    checked_bytes: int
    damages: tuple[Damage, ...]
    unreadable: tuple[Unreadable, ...] = ()
    damaged_files: Mapping[int, Mapping[str, DamagedFile]] = field(default_factory=dict)
    intact_files: frozenset[tuple[int, str]] = frozenset()

    @property
    def sound(self) -> bool:
        """Whether every file was read and none is damaged."""
        return not self.damages and not self.unreadable


def verify_store(root: Path, progress: Callable[[int, int], None] | None = None) -> VerifyReport:
    """Check manifests, outcomes, feature files and staged videos of a store against each other and their hashes.

    Looks for unexpected files inside the store's four folders. Temporaries of killed runs and of a running
    one are not damage. `progress` is called with (files checked, files in total).
    """
    check = _Check(root, progress)
    check.run()
    return VerifyReport(
        check.files,
        check.videos,
        check.bytes,
        tuple(check.damages),
        tuple(check.unreadable.values()),
        check.damaged,
        frozenset(check.intact),
    )


@dataclass
class _Check:
    root: Path
    progress: Callable[[int, int], None] | None
    files: int = 0
    videos: int = 0
    bytes: int = 0
    damages: list[Damage] = field(default_factory=list)
    unreadable: dict[Path, Unreadable] = field(default_factory=dict)
    # The first file of each space defines the settings that all others must have.
    spaces: dict[str, tuple[str, FeatureSpace]] = field(default_factory=dict)
    known: set[Path] = field(default_factory=set)
    damaged: dict[int, dict[str, DamagedFile]] = field(default_factory=dict)
    intact: set[tuple[int, str]] = field(default_factory=set)

    def run(self) -> None:
        folders: list[Path] = []
        files: list[Path] = []
        for name in layout.FOLDERS:
            self._list(self.root / name, folders, files)
        total = len(files)
        for shard in self._shards([*folders, *files]):
            self._shard(shard, total)
        for path in files:
            if path not in self.known:
                with self._readable():
                    self._read_file(path, total)
                    self._damage(path, "this file does not belong in a store", _UNEXPECTED)

    def _list(self, folder: Path, folders: list[Path], files: list[Path]) -> None:
        """Collect what is below a folder, except temporaries; record what cannot be read."""
        present: list[Path] = []
        with self._readable():
            present = [path for path in list_folder(folder) if not is_leftover(path.name)]
        for path in present:
            with self._readable():
                if is_folder(path):
                    folders.append(path)
                    self._list(path, folders, files)
                else:
                    files.append(path)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Record what the system does not allow reading in this block, and continue."""
        try:
            yield
        except StoreUnreadableError as error:
            self.unreadable.setdefault(error.path, Unreadable.of(self.root, error))

    def _shards(self, present: list[Path]) -> list[int]:
        """Return every shard that any file belongs to, and every number below the highest."""
        stems = {part.removesuffix(".json") for path in present for part in path.relative_to(self.root).parts[1:]}
        stems |= {path.stem for path in present if path.suffix == ".h5"}
        numbers = {number for stem in stems if (number := layout.parse_shard_stem(stem)) is not None}
        manifests = [path.stem for path in present if path.parent.name == layout.MANIFEST]
        highest = max((layout.parse_shard_stem(stem) or 0 for stem in manifests), default=-1)
        return sorted(numbers | set(range(highest + 1)))

    def _shard(self, shard: int, total: int) -> None:
        manifest = self._manifest(shard, total)
        outcomes = self._outcomes(shard, manifest, total)
        for space, record in sorted(outcomes.files.items()) if outcomes else ():
            with self._readable():
                self._features(shard, space, record, outcomes, total)
        with self._readable():
            self._staged(shard, manifest, total)
            self._unnamed(shard, total)

    def _unnamed(self, shard: int, total: int) -> None:
        """Report feature files that the shard's outcomes do not name."""
        # A run killed while publishing leaves feature files without outcomes, but then also the staged
        # videos that they were made from.
        unfinished = bool(Staging(self.root, shard).positions())
        unknown = layout.outcomes_file(self.root, shard) in self.unreadable
        for folder in list_folder(self.root / layout.FEATURES):
            path = folder / f"{layout.shard_stem(shard)}.h5"
            if path not in self.known and look_at(path) is not None:
                self._read_file(path, total)
                if not unfinished and not unknown:
                    self._damage(path, "the shard's outcomes do not name this feature file", _UNNAMED)

    def _manifest(self, shard: int, total: int) -> ShardManifest | None:
        path = layout.manifest_file(self.root, shard)
        with self._readable():
            if look_at(path) is None:
                self._damage(path, "this manifest is missing", _MANIFEST)
                return None
            self._read_file(path, total)
            try:
                return read_manifest(path)
            except StoreDamagedError as error:
                self._damage(path, str(error), _MANIFEST)
        return None

    def _outcomes(self, shard: int, manifest: ShardManifest | None, total: int) -> ShardOutcomes | None:
        path = layout.outcomes_file(self.root, shard)
        outcomes = None
        with self._readable():
            if look_at(path) is None:
                return None
            self._read_file(path, total)
            try:
                outcomes = read_outcomes(self.root, shard)
            except StoreDamagedError as error:
                self._damage(path, str(error), _REEXTRACT)
        if outcomes and manifest and (disagreement := outcomes.disagreement(manifest)):
            self._damage(path, disagreement, _REEXTRACT)
        return outcomes

    def _features(self, shard: int, space: str, record: FileRecord, outcomes: ShardOutcomes | None, total: int) -> None:
        path = self.root / record.name
        status = look_at(path)
        if status is None:
            self._damage(path, "this file is missing although the shard's outcomes name it", _REEXTRACT)
            return
        self._read_file(path, total)
        with reading(path):
            intact = (status.st_size, file_sha256(path)) == (record.size_bytes, record.sha256)
            if not intact:
                videos = self._damaged_features(path, status.st_size, record)
                self.damaged.setdefault(shard, {})[space] = DamagedFile(record.sha256, videos)
                return
        self.intact.add((shard, space))
        try:
            with ShardReader(path) as reader:
                ids = reader.ids()
                self.videos += len(ids)
                self._header(path, reader, shard, space)
                self._rows(path, reader, ids, space, outcomes)
        except StoreDamagedError as error:
            self._damage(path, str(error), _REEXTRACT)

    def _damaged_features(self, path: Path, size_bytes: int, record: FileRecord) -> tuple[str, ...]:
        """Report and return the videos with damaged rows by reading plain bytes: HDF5 may hang or crash on this file.

        Empty if more than rows may be damaged.
        """
        self.videos += len(record.extents)
        damaged = [video_id for video_id, at in record.extents.items() if not extent_is_intact(path, at)]
        for video_id in damaged:
            self._damage(path, "its rows do not match their SHA-256", _REEXTRACT, video_id)
        if size_bytes != record.size_bytes:
            self._damage(path, f"{size_bytes} bytes, {record.size_bytes} expected", _REEXTRACT)
            return ()
        if not damaged:
            what = "bytes changed outside the rows: attributes or the structure of the file are damaged"
            self._damage(path, what, _REEXTRACT)
        return tuple(damaged)

    def _header(self, path: Path, reader: ShardReader, shard: int, space: str) -> None:
        if reader.shard != shard or reader.space.name != space:
            self._damage(path, f"it records shard {reader.shard} and space {reader.space.name}", _REEXTRACT)
        first, held = self.spaces.setdefault(space, (path.name, reader.space))
        if held.fingerprint_json() != reader.space.fingerprint_json():
            self._damage(path, f"its fingerprint differs from that of {first}", _REEXTRACT)

    def _rows(
        self, path: Path, reader: ShardReader, ids: list[str], space: str, outcomes: ShardOutcomes | None
    ) -> None:
        videos = outcomes.videos if outcomes else ()
        expected = {video.video_id: video.rows[space] for video in videos if space in video.rows}
        for video_id in sorted(set(ids) - set(expected)):
            self._damage(path, "the shard's outcomes do not include this video's rows", _REEXTRACT, video_id)
        for video_id, row_count in expected.items():
            if video_id not in ids:
                self._damage(path, f"its {row_count} rows are missing", _REEXTRACT, video_id)
            elif (found := reader.timing(video_id).row_count) != row_count:
                self._damage(path, f"{found} rows instead of {row_count}", _REEXTRACT, video_id)

    def _staged(self, shard: int, manifest: ShardManifest | None, total: int) -> None:
        staging, folder = Staging(self.root, shard), layout.staging_folder(self.root, shard)
        for position in staging.positions():
            with self._readable():
                self._staged_video(staging, position, folder / layout.staged_name(position), manifest, total)

    def _staged_video(
        self, staging: Staging, position: int, path: Path, manifest: ShardManifest | None, total: int
    ) -> None:
        self._read_file(path, total)
        remedy = "Run `reeldex rerun`: only this video is then extracted again."
        try:
            outcome = staging.outcome(position)
            for space in staging.spaces(position).values():
                staging.rows(position, space)
        except StoreDamagedError as error:
            self._damage(path, str(error), remedy)
            return
        self.videos += 1
        videos = manifest.videos if manifest else ()
        if manifest and (position >= len(videos) or videos[position].video_id != outcome.video_id):
            self._damage(path, "the manifest has another video at this position", remedy, outcome.video_id)

    def _read_file(self, path: Path, total: int) -> None:
        self.known.add(path)
        self.files += 1
        with reading(path):
            self.bytes += path.stat().st_size
        if self.progress:
            self.progress(self.files, total)

    def _damage(self, path: Path, what: str, remedy: str, video_id: str | None = None) -> None:
        self.damages.append(Damage(path.relative_to(self.root).as_posix(), video_id, what, remedy))
