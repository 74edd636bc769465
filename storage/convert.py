"""Export and import of features as .npy files: `<folder>/<space>/<video id>.npy`."""

from __future__ import annotations

import io
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reeldex.storage.atomic import publish
from reeldex.storage.errors import StoreError
from reeldex.storage.manifest import plan_growth
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoEntry, VideoOutcome, check_space_name
from reeldex.storage.store import FeatureStore
from reeldex.storage.system_errors import all_below, is_folder, list_folder, look_at, reading

_SUFFIX = ".npy"


@dataclass(frozen=True)
class ExportReport:
    """Counts of an export: files written, files already present with the same content, bytes written."""

    written: int
    unchanged: int
    written_bytes: int


@dataclass(frozen=True)
class ImportReport:
    """Counts of an import: videos imported, and videos skipped because the store already has their ids."""

    imported: int
    already_there: int


def export_npy(
    store: FeatureStore, out: Path, spaces: Sequence[str] | None = None, *, overwrite: bool = False
) -> ExportReport:
    """Write the rows of every video as `out/<space>/<video id>.npy`, (R, D) float16; ids with "/" make folders.

    Each file is written atomically. Raises StoreError when a file with other content exists,
    unless `overwrite`; UnknownSpaceError for a space that is not in the store.
    """
    written = unchanged = written_bytes = 0
    for space in store.spaces() if spaces is None else spaces:
        for video_id in store.ids(space):
            path = out / space / f"{video_id}{_SUFFIX}"
            buffer = io.BytesIO()
            np.save(buffer, store.read(space, video_id), allow_pickle=False)
            content = buffer.getvalue()
            held = look_at(path)
            is_file = held is not None and stat.S_ISREG(held.st_mode)
            if is_file and _content(path) == content:
                unchanged += 1
                continue
            if held is not None and not (overwrite and is_file):
                raise StoreError(
                    f"{path} already exists and differs from the features of {video_id!r} in the store. Export into an "
                    "empty folder, or pass --overwrite to replace such files."
                )
            with publish(path) as temporary:
                temporary.write_bytes(content)
            written += 1
            written_bytes += len(content)
    return ExportReport(written, unchanged, written_bytes)


def _content(path: Path) -> bytes:
    with reading(path):
        return path.read_bytes()


def import_npy(
    folder: Path,
    store: FeatureStore,
    *,
    seconds_per_row: Mapping[str, float],
    videos_per_shard: int = 128,
) -> ImportReport:
    """Import `folder/<space>/<video id>.npy` files, (R, D) float16, into a store as new shards.

    `seconds_per_row` is the time between rows, by space. Ids that the store already has are skipped.
    Every file is checked before anything is written; run a killed import again to resume it. Hold the
    store's lock while it runs. Raises StoreError for a folder without such files, a space without
    `seconds_per_row`, and for a file that is not a finite 2-D float16 array; FingerprintError when the store's
    features of a space were not imported with the same settings; StoreUnreadableError for a file or folder that the
    system does not allow reading.
    """
    files = _find_files(folder)
    spaces = {name: _check_space(folder, name, paths, seconds_per_row) for name, paths in files.items()}
    for space in spaces.values():
        store.require_fingerprint(space)
    known = {entry.video_id: entry.path for manifest in store.manifests() for entry in manifest.videos}
    new = sorted({video_id for paths in files.values() for video_id in paths} - set(known))
    spaces_of = {video_id: tuple(name for name in sorted(files) if video_id in files[name]) for video_id in new}
    for names, group in groupby(sorted(new, key=lambda video_id: (spaces_of[video_id], video_id)), spaces_of.get):
        # A shard has the same spaces for all its videos, so videos are grouped by their set of spaces.
        found = [_entry(video_id, files[(names or ())[0]][video_id]) for video_id in group]
        growth = plan_growth(
            store.manifests(),
            found,
            videos_per_shard=videos_per_shard,
            spaces=names or (),
            exists=lambda path: Path(path).exists(),
        )
        store.add_shards(growth.new_shards)
    imported = _fill_shards(store, files, spaces)
    return ImportReport(imported, len({video_id for paths in files.values() for video_id in paths}) - imported)


def _fill_shards(
    store: FeatureStore, files: Mapping[str, Mapping[str, Path]], spaces: Mapping[str, FeatureSpace]
) -> int:
    """Stage and publish each unfinished shard of these files; return the number of their videos."""
    own_paths = {str(path.absolute()) for paths in files.values() for path in paths.values()}
    imported = 0
    for manifest in store.manifests():
        if not all(entry.path in own_paths for entry in manifest.videos):
            continue
        wanted = [spaces[name] for name in manifest.spaces]
        if store.shard_state(manifest.shard, wanted).done:
            continue
        staging = store.staging(manifest.shard)
        for position in store.pending_positions(manifest.shard, wanted):
            entry = manifest.videos[position]
            features = {space: _rows(files[space.name][entry.video_id], space) for space in wanted}
            staging.put(position, VideoOutcome(entry.video_id, entry.path, "ok", None, "", attempts=1), features)
        store.publish_shard(manifest.shard, wanted, provenance={"origin": "imported npy"}, seconds_of_work=0.0)
        imported += len(manifest.videos)
    return imported


def _find_files(folder: Path) -> dict[str, dict[str, Path]]:
    """Map each space to its files by video id."""
    found: dict[str, dict[str, Path]] = {}
    for space_folder in (path for path in list_folder(folder) if is_folder(path)):
        paths = sorted(path for path in all_below(space_folder) if path.suffix == _SUFFIX and not is_folder(path))
        if not paths:
            continue
        try:
            check_space_name(space_folder.name)
        except ValueError as error:
            raise StoreError(f"{space_folder} cannot be imported: {error} Rename the folder.") from error
        found[space_folder.name] = {
            path.relative_to(space_folder).as_posix().removesuffix(_SUFFIX): path for path in paths
        }
    if not found:
        raise StoreError(f"{folder} contains no {_SUFFIX} files in the layout <space>/<video id>{_SUFFIX}.")
    return found


def _check_space(
    folder: Path, name: str, paths: Mapping[str, Path], seconds_per_row: Mapping[str, float]
) -> FeatureSpace:
    if name not in seconds_per_row:
        raise StoreError(f"{folder / name}: seconds_per_row of {name} is missing; .npy files do not record it.")
    width: int | None = None
    for path in paths.values():
        rows = _load(path)
        width = width or rows.shape[1]
        if rows.shape[1] != width:
            raise StoreError(f"{path} has rows of dimension {rows.shape[1]}, other files of {name} have {width}.")
    return FeatureSpace(
        name, {"origin": "imported npy", "seconds_per_row": float(seconds_per_row[name]), "dimensions": width}
    )


def _load(path: Path) -> npt.NDArray[np.float16]:
    try:
        with reading(path), path.open("rb") as file:
            rows = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise StoreError(f"{path} cannot be read as an array of numbers: {error}.") from error
    if not isinstance(rows, np.ndarray) or rows.dtype != np.float16 or rows.ndim != 2:
        found = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
        raise StoreError(
            f"{path} contains {found}, not (rows, dimension) float16. Convert it with numpy first if the loss of "
            "precision is acceptable; an import does not cast."
        )
    if not rows.size or not np.isfinite(rows).all():
        raise StoreError(f"{path} is empty or contains NaN or infinity. Remove this file or create it again.")
    return np.ascontiguousarray(rows, np.float16)


def _rows(path: Path, space: FeatureSpace) -> FeatureRows:
    seconds_per_row = space.fingerprint["seconds_per_row"]
    if not isinstance(seconds_per_row, float):
        raise TypeError(f"seconds_per_row of {space.name} is {seconds_per_row!r}, not a number.")
    return FeatureRows(_load(path), 0.0, seconds_per_row, None, truncated=False, source=str(path.absolute()))


def _entry(video_id: str, path: Path) -> VideoEntry:
    with reading(path):
        status = path.stat()
    return VideoEntry(video_id, str(path.absolute()), status.st_size, status.st_mtime_ns)
