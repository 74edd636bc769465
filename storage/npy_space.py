"""One feature space of an import: its .npy files, with the record beside them if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reeldex.storage.errors import StoreError
from reeldex.storage.hashing import rows_sha256
from reeldex.storage.npy_files import SUFFIX, load_rows, may_be_space, npy_files
from reeldex.storage.schema import (
    JSON,
    FeatureRows,
    FeatureSpace,
    VideoEntry,
    VideoOutcome,
    check_space_name,
)
from reeldex.storage.sidecar import SIDECAR, ExportedVideo, Sidecar, read_sidecar
from reeldex.storage.system_errors import is_folder, list_folder, reading

ORIGIN = "imported npy"
# Of the norm of a float16 row that was normalised before it was stored.
_NORM_TOLERANCE = 0.01


@dataclass(frozen=True)
class NpySpace:
    """The files of one feature space by video id.

    With a `sidecar`, space, times, durations, paths and hashes are those of the exported store; without one, rows
    begin at 0 and follow each other after `seconds_per_row`, and a video is known by its .npy file alone.
    """

    space: FeatureSpace
    files: Mapping[str, Path]
    seconds_per_row: float
    sidecar: Sidecar | None = None

    def check(self) -> int:
        """Read every file; return how many have rows that are not L2-normalised.

        Raises StoreError for a file that is not a finite (R, D) float16 array of the space's dimension, or is not
        what was exported.
        """
        expected = self.space.fingerprint.get("dimensions")
        width = expected if isinstance(expected, int) else None
        unlike = 0
        for video_id, path in self.files.items():
            rows = load_rows(path)
            width = width or rows.shape[1]
            if rows.shape[1] != width:
                raise StoreError(
                    f"{path} has rows of dimension {rows.shape[1]}, other files of {self.space.name} have {width}."
                )
            if self.sidecar and rows_sha256(rows) != self._exported(video_id).sha256:
                raise StoreError(
                    f"{path} is not the file that was exported: its rows do not match the SHA-256 in {SIDECAR}. "
                    "Export it again, or remove it."
                )
            norms = np.linalg.norm(rows.astype(np.float32), axis=1)
            unlike += bool((np.abs(norms - 1) > _NORM_TOLERANCE).any())
        return unlike

    def entry(self, video_id: str) -> VideoEntry:
        """Return the video as the exported store knew it, else its .npy file in place of a video."""
        if self.sidecar:
            return self._exported(video_id).entry
        path = self.files[video_id]
        with reading(path):
            status = path.stat()
        return VideoEntry(video_id, str(path.absolute()), status.st_size, status.st_mtime_ns)

    def has_entry(self, entry: VideoEntry) -> bool:
        """Return whether an entry of a manifest is that of one of these files."""
        if entry.video_id not in self.files:
            return False
        return (
            entry == self.entry(entry.video_id)
            if self.sidecar
            else entry.path == str(self.files[entry.video_id].absolute())
        )

    def sha256(self, video_id: str) -> str:
        """Return the SHA-256 of a video's rows (`hashing.rows_sha256`)."""
        return self._exported(video_id).sha256 if self.sidecar else rows_sha256(load_rows(self.files[video_id]))

    def outcome(self, video_id: str) -> VideoOutcome | None:
        """Return the outcome that was exported, None when there is none."""
        return self._exported(video_id).outcome if self.sidecar else None

    def provenance(self, video_id: str) -> Mapping[str, JSON]:
        """Return how the features were made, as far as it was exported."""
        return self.sidecar.provenances[self._exported(video_id).provenance] if self.sidecar else {}

    def rows(self, video_id: str) -> FeatureRows:
        """Return the features of one video."""
        path = self.files[video_id]
        rows = load_rows(path)
        if not self.sidecar:
            source = str(path.absolute())
            return FeatureRows(rows, 0.0, self.seconds_per_row, None, truncated=False, source=source)
        known = self._exported(video_id)
        return FeatureRows(
            rows,
            known.start_seconds,
            known.seconds_per_row,
            known.duration_seconds,
            truncated=known.truncated,
            source=known.source,
            colour=known.colour,
            damaged_rows=known.damaged_rows,
        )

    def _exported(self, video_id: str) -> ExportedVideo:
        if self.sidecar is None:
            raise ValueError(f"The files of {self.space.name} have no {SIDECAR}.")
        return self.sidecar.videos[video_id]


def find_spaces(folder: Path, seconds_per_row: Mapping[str, float], *, records: bool = True) -> dict[str, NpySpace]:
    """Return the spaces of `folder/<space>/<video id>.npy`, or of one exported space that `folder` itself is.

    A folder with a record is the space that the record names, any other one the space that its own name says, of
    unknown origin; without `records`, all are. Raises StoreError for a folder without such files, a space without
    `seconds_per_row`, and a file that a record does not list.
    """
    folders = (
        [folder] if records and read_sidecar(folder) else [path for path in list_folder(folder) if may_be_space(path)]
    )
    if folders != [folder] and (outside := [path for path in list_folder(folder) if path.suffix == SUFFIX]):
        raise StoreError(
            f"{outside[0]} is not in the folder of a feature space: the layout is <space>/<video id>{SUFFIX}. Move it "
            f"there, or name the feature space of the files in {folder} with --as SPACE --trust."
        )
    found: dict[str, NpySpace] = {}
    for each in folders:
        files, sidecar = npy_files(each), read_sidecar(each) if records else None
        if not files:
            continue
        one = _recorded(each, files, sidecar) if sidecar else _unrecorded(each, files, seconds_per_row)
        if one.space.name in found:
            raise StoreError(f"{folder} has two folders of the feature space {one.space.name}. Import them separately.")
        found[one.space.name] = one
    if not found:
        raise StoreError(f"{folder} contains no {SUFFIX} files in the layout <space>/<video id>{SUFFIX}.")
    return found


def claimed_space(folder: Path, space: FeatureSpace, seconds_per_row: float, *, records: bool = True) -> NpySpace:
    """Return the files of a folder, or of its subfolder with the name of the space, as the space that is claimed.

    Raises StoreError when it has no .npy files, or, unless `records` are ignored, one that says what they are.
    """
    own = folder / space.name
    place = own if is_folder(own) else folder
    if records and (recorded := read_sidecar(place)) is not None:
        raise StoreError(
            f"{place / SIDECAR} records that these are features of {recorded.space}. Import them without --as; a claim "
            "is only for files of which nothing is recorded."
        )
    files = npy_files(place)
    if not files:
        raise StoreError(f"{place} contains no {SUFFIX} files.")
    return NpySpace(space, files, seconds_per_row)


def _recorded(folder: Path, files: Mapping[str, Path], sidecar: Sidecar) -> NpySpace:
    if added := sorted(set(files) - set(sidecar.videos)):
        raise StoreError(
            f"{files[added[0]]} is not listed in {folder / SIDECAR}: it was not exported with the other files. Remove "
            f"it, or import it from a folder of its own ({len(added)} such files)."
        )
    return NpySpace(sidecar.feature_space, files, 0.0, sidecar)


def _unrecorded(folder: Path, files: Mapping[str, Path], seconds_per_row: Mapping[str, float]) -> NpySpace:
    name = folder.name
    try:
        check_space_name(name)
    except ValueError as error:
        raise StoreError(
            f"{folder} cannot be imported: {error} Rename the folder, or name the feature space of the files with "
            "--as SPACE --trust."
        ) from error
    if name not in seconds_per_row:
        raise StoreError(f"{folder}: seconds_per_row of {name} is missing; {SUFFIX} files do not record it.")
    width = load_rows(next(iter(files.values()))).shape[1]
    rate = float(seconds_per_row[name])
    return NpySpace(FeatureSpace(name, {"origin": ORIGIN, "seconds_per_row": rate, "dimensions": width}), files, rate)
