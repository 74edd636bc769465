"""Re-reading every byte of a store and naming what is damaged."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from storage import layout
from storage.atomic import is_leftover
from storage.errors import StoreDamagedError
from storage.hashing import extent_is_intact, file_sha256
from storage.manifest import ShardManifest, read_manifest
from storage.outcomes import FileRecord, ShardOutcomes, read_outcomes
from storage.schema import FeatureSpace
from storage.shard import ShardReader
from storage.staging import Staging

_REMAKE = "Delete this file and run `reeldex rerun`, which makes it again, or restore it from a backup."
_STRANGER = "Move this file out of the store; nothing of reeldex made it."


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong: with which file below the store, which video if known, and what to do."""

    file: str
    video_id: str | None
    what: str
    remedy: str


@dataclass(frozen=True)
class VerifyReport:
    """What was read, and what is wrong with it; `checked_bytes` counts the bytes of all files read."""

    checked_files: int
    checked_videos: int
    checked_bytes: int
    damages: tuple[Damage, ...]


def verify_store(root: Path, progress: Callable[[int, int], None] | None = None) -> VerifyReport:
    """Check manifests, outcomes, feature files and staged videos of a store against each other and their hashes.

    Looks for unexpected files inside the store's four folders. Temporaries of killed runs and of a running
    one are no damage. `progress` is told (files checked, files in all).
    """
    check = _Check(root, progress)
    check.run()
    return VerifyReport(check.files, check.videos, check.bytes, tuple(check.damages))


@dataclass
class _Check:
    root: Path
    progress: Callable[[int, int], None] | None
    files: int = 0
    videos: int = 0
    bytes: int = 0
    damages: list[Damage] = field(default_factory=list)
    # The first file of each space says what all others of that space must say.
    spaces: dict[str, tuple[str, FeatureSpace]] = field(default_factory=dict)
    known: set[Path] = field(default_factory=set)

    def run(self) -> None:
        present = [path for name in layout.FOLDERS for path in sorted((self.root / name).rglob("*"))]
        present = [path for path in present if not any(map(is_leftover, path.relative_to(self.root).parts))]
        total = sum(path.is_file() for path in present)
        for shard in self._shards(present):
            self._shard(shard, total)
        for path in present:
            if path.is_file() and path not in self.known:
                self._read_file(path, total)
                self._damage(path, "this file has no place in a store", _STRANGER)

    def _shards(self, present: list[Path]) -> list[int]:
        """Name every shard that any file belongs to, and every number below the highest."""
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
            self._features(shard, space, record, outcomes, total)
        self._staged(shard, manifest, total)
        # A publishing that was killed halfway leaves feature files without outcomes, but then also what
        # they were made from.
        unfinished = bool(Staging(self.root, shard).positions())
        for path in sorted((self.root / layout.FEATURES).glob(f"*/{layout.shard_stem(shard)}.h5")):
            if path not in self.known:
                self._read_file(path, total)
                if not unfinished:
                    self._damage(path, "the shard's outcomes do not name this feature file", _REMAKE)

    def _manifest(self, shard: int, total: int) -> ShardManifest | None:
        path = layout.manifest_file(self.root, shard)
        remedy = "Restore this file from a backup: it is the only record of which videos the shard holds."
        if not path.is_file():
            self._damage(path, "this manifest is missing", remedy)
            return None
        self._read_file(path, total)
        try:
            return read_manifest(path)
        except StoreDamagedError as error:
            self._damage(path, str(error), remedy)
            return None

    def _outcomes(self, shard: int, manifest: ShardManifest | None, total: int) -> ShardOutcomes | None:
        path = layout.outcomes_file(self.root, shard)
        if not path.is_file():
            return None
        self._read_file(path, total)
        try:
            outcomes = read_outcomes(self.root, shard)
        except StoreDamagedError as error:
            self._damage(path, str(error), _REMAKE)
            return None
        if outcomes and manifest and (disagreement := outcomes.disagreement(manifest)):
            self._damage(path, disagreement, _REMAKE)
        return outcomes

    def _features(self, shard: int, space: str, record: FileRecord, outcomes: ShardOutcomes | None, total: int) -> None:
        path = self.root / record.name
        if not path.is_file():
            self._damage(path, "this file is missing although the shard's outcomes name it", _REMAKE)
            return
        self._read_file(path, total)
        size_bytes = path.stat().st_size
        if (size_bytes, file_sha256(path)) != (record.size_bytes, record.sha256):
            self._damaged_features(path, size_bytes, record)
            return
        try:
            with ShardReader(path) as reader:
                ids = reader.ids()
                self.videos += len(ids)
                self._header(path, reader, shard, space)
                self._rows(path, reader, ids, space, outcomes)
        except StoreDamagedError as error:
            self._damage(path, str(error), _REMAKE)

    def _damaged_features(self, path: Path, size_bytes: int, record: FileRecord) -> None:
        """Name the videos whose rows are damaged, from the bytes alone: HDF5 may hang or crash on this file."""
        self.videos += len(record.extents)
        damaged = [video_id for video_id, at in record.extents.items() if not extent_is_intact(path, at)]
        for video_id in damaged:
            self._damage(path, "its rows do not match their SHA-256", _REMAKE, video_id)
        if size_bytes != record.size_bytes:
            self._damage(path, f"{size_bytes} bytes, {record.size_bytes} expected", _REMAKE)
        elif not damaged:
            what = "its bytes changed, but no rows did: attributes or the structure of the file are damaged"
            self._damage(path, what, _REMAKE)

    def _header(self, path: Path, reader: ShardReader, shard: int, space: str) -> None:
        if reader.shard != shard or reader.space.name != space:
            self._damage(path, f"it says that it is of shard {reader.shard} and space {reader.space.name}", _REMAKE)
        first, held = self.spaces.setdefault(space, (path.name, reader.space))
        if held.fingerprint_json() != reader.space.fingerprint_json():
            self._damage(path, f"its fingerprint differs from that of {first}", _REMAKE)

    def _rows(
        self, path: Path, reader: ShardReader, ids: list[str], space: str, outcomes: ShardOutcomes | None
    ) -> None:
        videos = outcomes.videos if outcomes else ()
        expected = {video.video_id: video.rows[space] for video in videos if space in video.rows}
        for video_id in sorted(set(ids) - set(expected)):
            self._damage(path, "the shard's outcomes do not count this video's rows", _REMAKE, video_id)
        for video_id, row_count in expected.items():
            if video_id not in ids:
                self._damage(path, f"its {row_count} rows are missing", _REMAKE, video_id)
            elif (found := reader.timing(video_id).row_count) != row_count:
                self._damage(path, f"{found} rows instead of {row_count}", _REMAKE, video_id)

    def _staged(self, shard: int, manifest: ShardManifest | None, total: int) -> None:
        staging, folder = Staging(self.root, shard), layout.staging_folder(self.root, shard)
        for position in staging.positions():
            path = folder / layout.staged_name(position)
            self._read_file(path, total)
            remedy = "Delete this file and run `reeldex rerun`; only this video is then extracted again."
            try:
                outcome = staging.outcome(position)
                for space in staging.spaces(position).values():
                    staging.rows(position, space)
            except StoreDamagedError as error:
                self._damage(path, str(error), remedy)
                continue
            self.videos += 1
            videos = manifest.videos if manifest else ()
            if manifest and (position >= len(videos) or videos[position].video_id != outcome.video_id):
                self._damage(path, "the manifest has another video at this position", remedy, outcome.video_id)

    def _read_file(self, path: Path, total: int) -> None:
        self.known.add(path)
        self.files += 1
        self.bytes += path.stat().st_size
        if self.progress:
            self.progress(self.files, total)

    def _damage(self, path: Path, what: str, remedy: str, video_id: str | None = None) -> None:
        self.damages.append(Damage(path.relative_to(self.root).as_posix(), video_id, what, remedy))
