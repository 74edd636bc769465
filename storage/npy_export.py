"""Exports features as .npy files, `<folder>/<space>/<video id>.npy`, with a record per space."""

from __future__ import annotations

import io
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from reeldex.storage import layout
from reeldex.storage.atomic import publish
from reeldex.storage.documents import canonical_json
from reeldex.storage.errors import StoreDamagedError, StoreError
from reeldex.storage.hashing import rows_sha256
from reeldex.storage.npy_files import SUFFIX
from reeldex.storage.schema import JSON, FeatureRows, FeatureSpace
from reeldex.storage.sidecar import SIDECAR, ExportedVideo, Sidecar, read_sidecar, write_sidecar
from reeldex.storage.store import FeatureStore
from reeldex.storage.system_errors import is_folder, look_at, reading


@dataclass(frozen=True)
class ExportReport:
    """Counts of an export: .npy files written, those already present with the same content, bytes written."""

    written: int
    unchanged: int
    written_bytes: int


def export_npy(
    store: FeatureStore, out: Path, spaces: Sequence[str] | None = None, *, overwrite: bool = False
) -> ExportReport:
    """Write the rows of every video as `out/<space>/<video id>.npy`, (R, D) float16; ids with "/" make folders.

    Each space gets a record of its files, `features.json` (`sidecar.Sidecar`), from which `import_npy` restores
    fingerprint, times, durations and paths. It is written last and lists earlier exports to the same folder too.
    Each file is written atomically. Raises StoreError when a file with other content exists, unless
    `overwrite`, and when the folder has other videos with other settings; UnknownSpaceError for a space that is not
    in the store.
    """
    if all(is_folder(out / name) for name in (layout.MANIFEST, layout.FEATURES, layout.OUTCOMES)):
        raise StoreError(f"{out} is a feature store, in which .npy files do not belong. Export into another folder.")
    written = unchanged = written_bytes = 0
    for space in store.spaces() if spaces is None else spaces:
        folder, ids = out / space, store.ids(space)
        record = _Record(store, FeatureSpace(space, store.fingerprint(space)))
        earlier = _earlier(folder, record.space, ids, overwrite=overwrite)
        for video_id in ids:
            rows = store.rows(space, video_id)
            size = _write(folder / f"{video_id}{SUFFIX}", rows, video_id, overwrite=overwrite)
            written += bool(size)
            unchanged += not size
            written_bytes += size
            record.add(video_id, rows)
        record.publish(folder, earlier)
    return ExportReport(written, unchanged, written_bytes)


@dataclass
class _Record:
    """What is to be recorded of a space, video by video."""

    store: FeatureStore
    space: FeatureSpace
    videos: dict[str, ExportedVideo] = field(default_factory=dict)
    provenances: dict[str, tuple[int, Mapping[str, JSON]]] = field(default_factory=dict)

    def add(self, video_id: str, rows: FeatureRows) -> None:
        entry, outcome = self.store.entry(video_id), self.store.outcome(video_id)
        if entry is None or outcome is None:
            raise StoreError(f"The video {video_id!r} left {self.store.path} during the export. Export again.")
        self.videos[video_id] = ExportedVideo(
            row_count=rows.rows.shape[0],
            dimensions=rows.rows.shape[1],
            sha256=rows_sha256(rows.rows),
            start_seconds=rows.start_seconds,
            seconds_per_row=rows.seconds_per_row,
            duration_seconds=rows.duration_seconds,
            truncated=rows.truncated,
            source=rows.source,
            entry=entry,
            outcome=outcome,
            provenance=self._number(self.store.provenance(self.space.name, video_id)),
            colour=rows.colour,
            damaged_rows=rows.damaged_rows,
        )

    def _number(self, provenance: Mapping[str, JSON]) -> int:
        return self.provenances.setdefault(canonical_json(provenance), (len(self.provenances), provenance))[0]

    def publish(self, folder: Path, earlier: Sidecar | None) -> None:
        """Write the record, with the files of an earlier export that are still there."""
        if not self.videos:
            return
        if earlier is not None:
            for video_id, video in earlier.videos.items():
                if video_id not in self.videos and look_at(folder / f"{video_id}{SUFFIX}") is not None:
                    number = self._number(earlier.provenances[video.provenance])
                    self.videos[video_id] = replace(video, provenance=number)
        sidecar = Sidecar(
            self.space.name,
            self.space.fingerprint,
            tuple(provenance for _, provenance in self.provenances.values()),
            dict(sorted(self.videos.items())),
        )
        if sidecar != earlier:
            write_sidecar(folder, sidecar)


def _earlier(folder: Path, space: FeatureSpace, ids: Sequence[str], *, overwrite: bool) -> Sidecar | None:
    """Return the record of an earlier export; raises StoreError when its other videos have other settings.

    With `overwrite`, a damaged one counts as none.
    """
    try:
        earlier = read_sidecar(folder)
    except StoreDamagedError:
        if not overwrite:
            raise
        return None
    if earlier is None or earlier.feature_space == space:
        return earlier
    if others := sorted(set(earlier.videos) - set(ids)):
        raise StoreError(
            f"{folder / SIDECAR} records features of {earlier.space} with other settings, of "
            f"{others[0]!r} for one. Export into an empty folder: two sets of settings must not mix."
        )
    return None


def _write(path: Path, rows: FeatureRows, video_id: str, *, overwrite: bool) -> int:
    """Write one file unless it has this content already; return the bytes written."""
    buffer = io.BytesIO()
    np.save(buffer, rows.rows, allow_pickle=False)
    content = buffer.getvalue()
    held = look_at(path)
    is_file = held is not None and stat.S_ISREG(held.st_mode)
    if is_file and _content(path) == content:
        return 0
    if held is not None and not (overwrite and is_file):
        raise StoreError(
            f"{path} already exists and differs from the features of {video_id!r} in the store. Export into an "
            "empty folder, or pass --overwrite to replace such files."
        )
    with publish(path) as temporary:
        temporary.write_bytes(content)
    return len(content)


def _content(path: Path) -> bytes:
    with reading(path):
        return path.read_bytes()
