"""Re-reads every byte of a store, or of a sample of its shards, and reports what is damaged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.atomic import is_leftover
from reeldex.storage.documents import REMEDIES
from reeldex.storage.errors import StoreDamagedError
from reeldex.storage.manifest import ShardManifest, read_manifest
from reeldex.storage.outcomes import ShardOutcomes, read_outcomes
from reeldex.storage.records import Record, records_of
from reeldex.storage.remote_path import refresh
from reeldex.storage.staging import Staging
from reeldex.storage.system_errors import is_folder, list_folder, look_at
from reeldex.storage.verify_features import REEXTRACT, FeatureFiles, latest_outcomes, may_be_unfinished
from reeldex.storage.verify_report import Findings, VerifyReport
from reeldex.storage.verify_sample import Sample

_UNNAMED = "Run `reeldex rerun`, which extracts what the outcomes lack, or move this file out of the store."
_MANIFEST = "Restore this file from a backup: it is the only record of which videos the shard holds."
_UNEXPECTED = "Move this file out of the store; reeldex did not create it."


def verify_store(
    root: Path, progress: Callable[[int, int], None] | None = None, sample: Sample | None = None
) -> VerifyReport:
    """Check manifests, outcomes, feature files and staged videos of a store against each other and their hashes.

    Also its records of forgotten videos, removed spaces, searches and damage. Looks for unexpected files inside the
    store's four folders. Temporaries of killed runs and of a running one are not damage, and neither is what a running
    one publishes meanwhile. `progress` is called with (files checked, files in total).

    With a `sample`, reads the files of its shards, and those that belong to no shard.
    """
    findings = Findings(root, progress)
    _Check(root, findings, FeatureFiles(root, findings), sample).run()
    return findings.report(sample)


@dataclass(frozen=True)
class _Check:
    root: Path
    found: Findings
    feature_files: FeatureFiles
    sample: Sample | None

    def run(self) -> None:
        folders: list[Path] = []
        files: list[Path] = []
        for name in layout.FOLDERS:
            self._list(self.root / name, folders, files)
        records: list[Record] = []
        with self.found.readable():
            records = records_of(self.root)
        shards = self._shards([*folders, *files])
        chosen = shards if self.sample is None else self.sample.of(shards)
        files = _without(files, {*shards}.difference(chosen), self.root)
        self.found.checked_shards, self.found.total_shards = len(chosen), len(shards)
        self.found.total = len(files) + len(records)
        for path, kind, read in records:
            self._record(path, kind, read)
        for shard in chosen:
            self._shard(shard)
        for path in files:
            # What is gone was published since, or removed.
            if path not in self.found.known:
                with self.found.readable(), contextlib.suppress(FileNotFoundError):
                    self.found.read_file(path)
                    self.found.damage(path, "this file does not belong in a store", _UNEXPECTED)

    def _record(self, path: Path, kind: str, read: Callable[[], object]) -> None:
        with self.found.readable(), contextlib.suppress(FileNotFoundError):
            self.found.read_file(path)
            try:
                read()
            except StoreDamagedError as error:
                self.found.damage(path, str(error), REMEDIES[kind])
            self.found.served(path)

    def _list(self, folder: Path, folders: list[Path], files: list[Path]) -> None:
        """Collect what is below a folder, except temporaries; record what cannot be read."""
        present: list[Path] = []
        with self.found.readable():
            present = [path for path in list_folder(folder) if not is_leftover(path.name)]
            self.found.served(folder)
        for path in present:
            with self.found.readable():
                if is_folder(path):
                    folders.append(path)
                    self._list(path, folders, files)
                else:
                    files.append(path)

    def _shards(self, present: list[Path]) -> list[int]:
        """Return every shard that any file belongs to, and every number below the highest."""
        numbers = {shard for path in present for shard in _shards_of(path, self.root)}
        manifests = [path.stem for path in present if path.parent.name == layout.MANIFEST]
        highest = max((layout.parse_shard_stem(stem) or 0 for stem in manifests), default=-1)
        return sorted(numbers | set(range(highest + 1)))

    def _shard(self, shard: int) -> None:
        manifest = self._manifest(shard)
        outcomes = self._outcomes(shard, manifest)
        if outcomes is not None:
            for space, record in sorted(outcomes.files.items()):
                with self.found.readable():
                    self.feature_files.check(shard, space, record, outcomes)
                    self.found.served(self.root / record.name)
        with self.found.readable():
            self._staged(shard, manifest)
            self._unnamed(shard)

    def _unnamed(self, shard: int) -> None:
        """Report feature files that the shard's outcomes do not name."""
        unknown = layout.outcomes_file(self.root, shard) in self.found.unreadable
        folders = list_folder(self.root / layout.FEATURES)
        self.found.served(self.root / layout.FEATURES)
        for folder in folders:
            path = folder / f"{layout.shard_stem(shard)}.h5"
            if path not in self.found.known and look_at(path) is not None:
                self.found.read_file(path)
                # Feature files are published before the outcomes that name them; asked first, as these may come now.
                unfinished = may_be_unfinished(self.root, shard)
                if unknown or self._is_named_by_now(folder.name, shard):
                    continue
                if unfinished:
                    self.found.without_outcomes(path)
                elif look_at(path) is not None:
                    self.found.damage(path, "the shard's outcomes do not name this feature file", _UNNAMED)

    def _is_named_by_now(self, space: str, shard: int) -> bool:
        """Whether the outcomes name a feature file that was published since they were read."""
        if _is_named(self.root, shard, space):
            return True
        refresh(self.root)
        return _is_named(self.root, shard, space)

    def _manifest(self, shard: int) -> ShardManifest | None:
        path, manifest = layout.manifest_file(self.root, shard), None
        with self.found.readable():
            if look_at(path) is None:
                self.found.damage(path, "this manifest is missing", _MANIFEST)
                return None
            self.found.read_file(path)
            try:
                manifest = read_manifest(path)
            except StoreDamagedError as error:
                self.found.damage(path, str(error), _MANIFEST)
            self.found.served(path)
        return manifest

    def _outcomes(self, shard: int, manifest: ShardManifest | None) -> ShardOutcomes | None:
        path = layout.outcomes_file(self.root, shard)
        outcomes = None
        with self.found.readable():
            if look_at(path) is None:
                return None
            self.found.read_file(path)
            try:
                outcomes = read_outcomes(self.root, shard)
            except StoreDamagedError as error:
                self.found.damage(path, str(error), REEXTRACT)
            self.found.served(path)
        if outcomes and manifest and (disagreement := outcomes.disagreement(manifest)):
            self.found.damage(path, disagreement, REEXTRACT)
        return outcomes

    def _staged(self, shard: int, manifest: ShardManifest | None) -> None:
        staging, folder = Staging(self.root, shard), layout.staging_folder(self.root, shard)
        for position in staging.positions():
            path = folder / layout.staged_name(position)
            try:
                with self.found.readable():
                    self._staged_video(staging, position, path, manifest)
            except (KeyError, FileNotFoundError):
                # A running extraction has published it since.
                if look_at(path) is not None:
                    raise

    def _staged_video(self, staging: Staging, position: int, path: Path, manifest: ShardManifest | None) -> None:
        self.found.read_file(path)
        remedy = "Run `reeldex rerun`: only this video is then extracted again."
        try:
            outcome = staging.outcome(position)
            for space in staging.spaces(position).values():
                staging.rows(position, space)
        except StoreDamagedError as error:
            self.found.damage(path, str(error), remedy)
            return
        self.found.videos += 1
        videos = manifest.videos if manifest else ()
        if manifest and (position >= len(videos) or videos[position].video_id != outcome.video_id):
            self.found.damage(path, "the manifest has another video at this position", remedy, outcome.video_id)


def _is_named(root: Path, shard: int, space: str) -> bool:
    latest = latest_outcomes(root, shard)
    return latest is not None and space in latest.files


def _shards_of(path: Path, root: Path) -> set[int]:
    """Return the shard that a file or folder of a store belongs to, by the names on its path; empty if to none."""
    parts = path.relative_to(root).parts[1:]
    stems = [*(part.removesuffix(".json") for part in parts), *([path.stem] if path.suffix == ".h5" else [])]
    return {number for stem in stems if (number := layout.parse_shard_stem(stem)) is not None}


def _without(files: list[Path], shards: set[int], root: Path) -> list[Path]:
    """Return the files that belong to none of these shards."""
    return [path for path in files if not _shards_of(path, root) & shards] if shards else files
