"""Sources of feature rows: a reeldex store, or folders of .npy files in the published layout."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from reeldex.embedding.damaged_rows import Ranges, only_damaged, read_damage
from reeldex.embedding.datasets.feature_options import PUBLISHED_ROWS_PER_SECOND
from reeldex.embedding.errors import FeaturesError, FeaturesUnreadableError
from reeldex.embedding.pooling import Floats
from reeldex.storage.errors import StoreError, StoreUnreadableError
from reeldex.storage.schema import JSON
from reeldex.storage.shard import RowTiming
from reeldex.storage.store import FeatureStore
from reeldex.storage.system_errors import all_below, is_folder, look_at, reading
from reeldex.storage.video_names import KnownVideos

STREAMS = ("2d", "3d")
"""The streams in the order in which their pooled vectors are joined."""


@dataclass(frozen=True, eq=False)
class VideoRows:
    """One stream of one video: the times of its rows, and `rows`, (R, D), memory-mapped.

    `damaged` are the ranges (first, stop) of rows that pooling skips.
    """

    timing: RowTiming
    rows: Floats
    damaged: Ranges = ()


class FeatureSource(Protocol):
    """Rows of 2-D and 3-D features of videos. A stream is given by its index in STREAMS.

    All methods raise FeaturesUnreadableError where the system does not allow reading.
    """

    @property
    def stream_dims(self) -> tuple[int, int]:
        """Vector dimension of each stream."""

    def problem(self, video_id: str) -> str | None:
        """Return why this video cannot be used, None when it can; reads no rows."""

    def video(self, stream: int, video_id: str) -> VideoRows:
        """Open one stream of a video; raises FeaturesError."""

    def fingerprints(self) -> dict[str, JSON]:
        """Return what defines the features of each stream, for a checkpoint."""


@contextmanager
def features_readable() -> Iterator[None]:
    """Turn a store's StoreUnreadableError into FeaturesUnreadableError, any other StoreError into FeaturesError."""
    try:
        yield
    except StoreUnreadableError as error:
        raise FeaturesUnreadableError(str(error), error.errno) from error
    except StoreError as error:
        raise FeaturesError(str(error)) from error


class StoreFeatures:
    """Features of a reeldex store, in a 2-D and a 3-D space of it.

    Without names, the spaces are the store's only ones of the networks resnet152 and resnext101_3d. A video is found by
    its id in the store or by that id without folders and without the video file's extension; an extension that the
    store's id lacks is ignored. With `exact_ids`, only by its id in the store, which needs no table of all names: for
    callers that have the ids from the store. With `skip_damaged`, rows that may show damaged pictures are marked as
    such, and a video that has no others in one of the spaces cannot be used. Raises FeaturesError when a space does not
    exist.
    """

    def __init__(
        self,
        store: FeatureStore,
        space_2d: str | None = None,
        space_3d: str | None = None,
        *,
        exact_ids: bool = False,
        skip_damaged: bool = False,
    ) -> None:
        self.store = store
        with features_readable():
            self.spaces = (
                space_2d or _only_space(store, "resnet152", "2-D"),
                space_3d or _only_space(store, "resnext101_3d", "3-D"),
            )
            one = exact_ids and not skip_damaged
            both = list(islice(store.ids_with(self.spaces), 1 if one else None))
        if not both:
            raise FeaturesError(f"{store.path} has no video with features in both {' and '.join(self.spaces)}.")
        self._first = min(both)
        self._known = None if exact_ids else KnownVideos(both)
        self._skip_damaged = skip_damaged
        self._damage: dict[str, tuple[Ranges, ...]] = {}
        if skip_damaged:
            with features_readable():
                self._damage = read_damage(store, self.spaces, both)

    @cached_property
    def stream_dims(self) -> tuple[int, int]:
        """Vector dimension of each stream."""
        widths = [self.video(stream, self._first).rows.shape[1] for stream in range(len(STREAMS))]
        return widths[0], widths[1]

    def problem(self, video_id: str) -> str | None:
        """Return why this video cannot be used, None when it can."""
        return self._absence(video_id) or self._only_damaged(self._meant(video_id)[0])

    def _absence(self, video_id: str) -> str | None:
        meant = self._meant(video_id)
        if len(meant) == 1:
            return None
        if meant:
            return f"several videos of the store have this name: {', '.join(meant[:3])}"
        with features_readable():
            outcome = self.store.outcome(video_id)
        if outcome is None:
            return "the store has no features of it"
        if outcome.status == "failed":
            return f"its extraction failed as {outcome.reason}"
        lacking = [space for space in self.spaces if space not in outcome.rows]
        return f"the store has no features of it in {' and '.join(lacking)}"

    def _only_damaged(self, store_id: str) -> str | None:
        for stream, damaged in enumerate(self._damage.get(store_id, ())):
            with features_readable():
                row_count = self.store.map_rows(self.spaces[stream], store_id)[0].row_count
            if only_damaged([(0, row_count)], damaged, row_count):
                return f"all its {STREAMS[stream]} rows may show damaged pictures"
        return None

    def video(self, stream: int, video_id: str) -> VideoRows:
        """Open one stream of a video; raises FeaturesError."""
        # The store itself refuses an id that it does not have.
        store_id = video_id if self._known is None else self._store_id(video_id)
        with features_readable():
            timing, rows = self.store.map_rows(self.spaces[stream], store_id)
        return VideoRows(timing, rows, self._damage[store_id][stream] if store_id in self._damage else ())

    def fingerprints(self) -> dict[str, JSON]:
        """Return each stream's space and its settings, and whether damaged rows are skipped."""
        skipped: dict[str, JSON] = {"damaged_rows": "skipped"} if self._skip_damaged else {}
        with features_readable():
            return {
                name: {"space": space, "fingerprint": self.store.fingerprint(space), **skipped}
                for name, space in zip(STREAMS, self.spaces, strict=True)
            }

    def _store_id(self, video_id: str) -> str:
        if problem := self._absence(video_id):
            raise FeaturesError(f"The video {video_id!r} cannot be read from {self.store.path}: {problem}.")
        return self._meant(video_id)[0]

    def _meant(self, video_id: str) -> list[str]:
        """Return the ids of the store that a name can refer to."""
        if self._known is not None:
            return self._known.meant(video_id)
        with features_readable():
            outcome = self.store.outcome(video_id)
        if outcome is None or not all(space in outcome.rows for space in self.spaces):
            return []
        return [outcome.video_id]


class NpyFeatures:
    """Features in two folders with one .npy file per video, (rows, dimension), as the published extractor writes them.

    `folders` and `rows_per_second` are indexed by stream. `paths` maps each video to its file within both folders;
    without it, a file is found by its name: `<video id>.npy` or `<video id>.<mp4, webm, ...>.npy`, in any subfolder; an
    extension of the id that the file lacks is ignored. Files are memory-mapped; only the requested rows are read.
    Raises FeaturesError.
    """

    def __init__(
        self,
        folders: tuple[Path, Path],
        paths: Mapping[str, str] | None = None,
        rows_per_second: tuple[float, float] = PUBLISHED_ROWS_PER_SECOND,
    ) -> None:
        self.folders = folders
        self._seconds_per_row = [1 / rate for rate in rows_per_second]
        for folder in folders:
            with features_readable():
                there = is_folder(folder)
            if not there:
                raise FeaturesError(f"There is no folder {folder} with features. Correct the path.")
        self._paths = dict(paths) if paths is not None else None
        self._files = [_npy_files(folder) for folder in folders] if paths is None else []

    @cached_property
    def stream_dims(self) -> tuple[int, int]:
        """Vector dimension of each stream, as the first usable video has them."""
        for video_id in self._files[0].by_name if self._paths is None else self._paths:
            if self.problem(video_id) is None:
                widths = [self._open(stream, video_id).shape[1] for stream in range(len(STREAMS))]
                return widths[0], widths[1]
        raise FeaturesError(
            f"{self.folders[0]} and {self.folders[1]} have no video in common. The files of a video must "
            "have the same path in both."
        )

    def problem(self, video_id: str) -> str | None:
        """Return why this video cannot be used, None when it can; looks for its files and does not open them."""
        for stream, folder in enumerate(self.folders):
            file = self._path(stream, video_id)
            if file is None:
                return f"{folder} has no .npy file of it"
            with features_readable():
                status = look_at(file)
            if status is None or not stat.S_ISREG(status.st_mode):
                return f"there is no file {file}"
            if not status.st_size:
                return f"{file} is empty"
        return None

    def video(self, stream: int, video_id: str) -> VideoRows:
        """Map one stream of a video into memory; raises FeaturesError."""
        rows = self._open(stream, video_id)
        width = self.stream_dims[stream]
        if rows.shape[1] != width:
            raise FeaturesError(
                f"{self._file(stream, video_id)} has rows of dimension {rows.shape[1]}, other files have {width}."
            )
        if not len(rows):
            raise FeaturesError(
                f"{self._file(stream, video_id)} has no rows. Extract this video again, or leave it out."
            )
        return VideoRows(RowTiming(len(rows), 0.0, self._seconds_per_row[stream]), rows)

    def fingerprints(self) -> dict[str, JSON]:
        """Return dimension and rate of each stream: .npy files record nothing else."""
        return {
            name: {"space": None, "fingerprint": {"origin": "npy files", "dimensions": width, "seconds_per_row": rate}}
            for name, width, rate in zip(STREAMS, self.stream_dims, self._seconds_per_row, strict=True)
        }

    def _file(self, stream: int, video_id: str) -> Path:
        path = self._path(stream, video_id)
        if path is None:
            raise FeaturesError(f"{self.folders[stream]} has no .npy file of the video {video_id!r}.")
        return path

    def _path(self, stream: int, video_id: str) -> Path | None:
        if self._paths is None:
            meant = self._files[stream].meant(video_id)
            return self.folders[stream] / f"{meant[0]}.npy" if meant else None
        return self.folders[stream] / self._paths[video_id] if video_id in self._paths else None

    def _open(self, stream: int, video_id: str) -> Floats:
        file = self._file(stream, video_id)
        try:
            with features_readable(), reading(file):
                rows = np.load(file, mmap_mode="r", allow_pickle=False)
        except (FileNotFoundError, ValueError, EOFError) as error:
            # NumPy treats every unknown format as a pickle, and advises reading it unsafely.
            reason = "it is not an .npy file" if "allow_pickle" in str(error) else str(error)
            raise FeaturesError(
                f"{file} cannot be read as an array of numbers: {reason}. Extract this video again, or leave it out."
            ) from error
        if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype.kind != "f":
            found = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
            raise FeaturesError(f"{file} contains {found}, not (rows, dimension) of a float type.")
        # Slices of a plain array are cheap; the mapping stays open while they are in use.
        return rows.view(np.ndarray)


def _npy_files(folder: Path) -> KnownVideos:
    with features_readable():
        files = [path for path in all_below(folder) if path.suffix == ".npy"]
    known = KnownVideos(path.relative_to(folder).as_posix().removesuffix(".npy") for path in files)
    for name, found in known.by_name.items():
        if len(found) > 1:
            listed = ", ".join(f"{each}.npy" for each in found[:3])
            raise FeaturesError(f"{folder} contains several files of the video {name!r}: {listed}. Keep one of them.")
    return known


def _only_space(store: FeatureStore, network: str, kind: str) -> str:
    found = [space for space in store.spaces() if space.startswith(f"{network}.")]
    if len(found) == 1:
        return found[0]
    held = ", ".join(store.spaces()) or "none yet"
    reason = "none" if not found else f"{len(found)}"
    raise FeaturesError(
        f"Which {kind} features of {store.path} are meant cannot be told: it has {reason} of the network {network}. "
        f"Name the space; the store holds: {held}."
    )
