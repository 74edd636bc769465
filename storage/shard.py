"""Reads one HDF5 file: the features of a shard's videos in one space (`shard_writing.py` writes it)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
import numpy.typing as npt

from reeldex.storage.errors import StoreDamagedError, StoreFileMissingError, StoreUnreadableError, UnknownVideoError
from reeldex.storage.hashing import Extent
from reeldex.storage.hdf5 import H5PY_ERRORS, open_ranges, open_to_read, raise_system_error
from reeldex.storage.remote_path import RemotePath
from reeldex.storage.remote_ranges import RangeReader, safe_for_hdf5
from reeldex.storage.row_datasets import damaged_rows, is_plausible, read_rows, room_for
from reeldex.storage.schema import FORMAT, FORMAT_VERSION, JSON, FeatureRows, FeatureSpace, check_video_id
from reeldex.storage.system_errors import look_at


@dataclass(frozen=True)
class RowTiming:
    """The number and times of a video's rows: row k begins at `start_seconds` + k * `seconds_per_row`."""

    row_count: int
    start_seconds: float
    seconds_per_row: float


@dataclass(frozen=True)
class _Place:
    """Where a video's rows are: their times, the dataset's shape, and the `offset` of its bytes in the file.

    `offset` is None where the rows are not one run of bytes, as in a file that another program has repacked.
    """

    timing: RowTiming
    shape: tuple[int, int]
    offset: int | None


class ShardReader:
    """A shard file, open for reading; a context manager.

    Attributes: `path`, `space` (FeatureSpace), `shard`, `provenance`, `created`. All methods raise StoreDamagedError,
    naming the file and the remedy, where the file is not what `write_shard` wrote; StoreUnreadableError where the
    system does not allow reading it; StoreFileMissingError when it is absent; ValueError after `close`. After an error,
    the file is opened anew: buffers of the HDF5 library that it failed to fill count as read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bytes: npt.NDArray[np.uint8] | None = None
        self._file: h5py.File | None = None
        self._ranges: RangeReader | None = None
        # Of videos that have been read: HDF5 looks up a dataset in more time than it takes to read a few rows of it.
        self._places: dict[str, _Place] = {}
        self._closed = False
        with self._damage_named():
            # Opened, with its header.
            pass

    def _open(self) -> None:
        if look_at(self.path) is None:
            raise StoreFileMissingError(self.path)
        self._bytes = None
        self._places.clear()
        if isinstance(self.path, RemotePath):
            self._ranges = RangeReader(self.path.url)
        self._file = open_to_read(self.path) if self._ranges is None else open_ranges(self._ranges)
        self._read_header(self._file)

    def _discard(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(*H5PY_ERRORS):
                file.close()

    def _read_header(self, file: h5py.File) -> None:
        attributes = file.attrs
        if attributes["format"] != FORMAT:
            raise StoreDamagedError(f"its format is {attributes['format']!r}, not {FORMAT!r}")
        if attributes["format_version"] != FORMAT_VERSION:
            raise StoreDamagedError(
                f"it has format version {attributes['format_version']}, this program reads {FORMAT_VERSION}"
            )
        self.space = FeatureSpace(str(attributes["space"]), json.loads(attributes["fingerprint"]))
        self.shard = int(attributes["shard"])
        self.provenance: dict[str, JSON] = json.loads(attributes["provenance"])
        self.created = str(attributes["created"])
        self._features: h5py.Group = file["features"]
        if not isinstance(self._features, h5py.Group):
            raise StoreDamagedError("/features is not a group")

    def ids(self) -> list[str]:
        """Return the video ids in the order in which they were written."""
        with self._damage_named():
            found = sorted((int(dataset.attrs["position"]), video_id) for video_id, dataset in _walk(self._features))
        return [video_id for _, video_id in found]

    def read(self, video_id: str) -> FeatureRows:
        """Return all features of one video, checked against their SHA-256; raises UnknownVideoError."""
        with self._damage_named():
            return read_rows(self._dataset(video_id))

    def read_rows(self, video_id: str, first: int, stop: int) -> npt.NDArray[np.float16]:
        """Return rows `first` up to but not including `stop`, clipped to the existing ones, as (n, D) float16.

        Reads only those rows, so the SHA-256 cannot be checked. Raises UnknownVideoError, and
        ValueError for negative bounds.
        """
        if first < 0 or stop < 0:
            raise ValueError(f"Rows are counted from 0; got {first} to {stop}.")
        with self._damage_named():
            place = self._place(video_id)
            row_count, width = place.shape
            begin = min(first, row_count)
            end = max(begin, min(stop, row_count))
            rows = room_for((end - begin, width))
            if rows.size and place.offset is None:
                self._dataset(video_id).read_direct(rows, np.s_[begin:end])
        if rows.size and place.offset is not None:
            with self._damage_named(uses_hdf5=False):
                self._read_into(rows, place.offset + begin * width * rows.itemsize)
        return rows

    def timing(self, video_id: str) -> RowTiming:
        """Return the row count and row times of one video, without reading its rows; raises UnknownVideoError."""
        with self._damage_named():
            return self._place(video_id).timing

    def damaged_rows(self, video_id: str) -> tuple[tuple[int, int], ...] | None:
        """Return `FeatureRows.damaged_rows` of one video, without reading its rows; raises UnknownVideoError."""
        with self._damage_named():
            return damaged_rows(self._dataset(video_id))

    def map_rows(self, video_id: str) -> tuple[RowTiming, npt.NDArray[np.float16]]:
        """Return the row times of one video and its rows as a read-only memory-mapped (R, D) float16 array.

        Pages are read when they are used, so the SHA-256 is not checked; from an object store, all rows are fetched at
        once. The array stays valid after `close`. Raises UnknownVideoError.
        """
        with self._damage_named():
            place = self._place(video_id)
            if place.offset is None:
                raise StoreDamagedError(f"the rows of {video_id!r} are not stored in one piece")
        with self._damage_named(uses_hdf5=False):
            if self._ranges is not None:
                rows = room_for(place.shape)
                self._read_into(rows, place.offset)
                rows.flags.writeable = False
                return place.timing, rows
            if self._bytes is None:
                self._bytes = np.memmap(self.path, np.uint8, mode="r").view(np.ndarray)
            # Published files are never written again, so the mapped array cannot change or shrink.
            size = place.shape[0] * place.shape[1] * np.dtype(np.float16).itemsize
            rows = self._bytes[place.offset : place.offset + size].view(np.float16).reshape(place.shape)
            return place.timing, rows

    def extents(self) -> dict[str, Extent]:
        """Return the extent of each video's rows in the file."""
        with self._damage_named():
            return {
                video_id: Extent(
                    dataset.id.get_offset(), dataset.shape[0], dataset.shape[1], str(dataset.attrs["sha256"])
                )
                for video_id, dataset in _walk(self._features)
            }

    def check(self) -> list[tuple[str, str]]:
        """Re-read every video; return (video id, what is wrong) for the damaged ones.

        Raises StoreUnreadableError where the system does not allow reading one.
        """
        with self._damage_named():
            datasets = list(_walk(self._features))
        damaged = []
        for video_id, dataset in datasets:
            try:
                with self._reading():
                    read_rows(dataset)
            except StoreDamagedError as error:
                damaged.append((video_id, str(error)))
            except H5PY_ERRORS as error:
                try:
                    raise_system_error(self.path, error)
                except (OSError, StoreUnreadableError):
                    self._discard()
                    raise
                damaged.append((video_id, str(error)))
        return damaged

    def close(self) -> None:
        """Close the file; the reader cannot be used afterwards. Closing it again does nothing."""
        self._closed = True
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _place(self, video_id: str) -> _Place:
        known = self._places.get(video_id)
        if known is None:
            dataset = self._dataset(video_id)
            known = self._places[video_id] = _Place(_timing(dataset), dataset.shape, dataset.id.get_offset())
        return known

    def _read_into(self, rows: npt.NDArray[np.float16], offset: int) -> None:
        """Fill `rows` with the bytes from `offset` on; errors of the system stay what they are, unlike in a mapping."""
        wanted = rows.reshape(-1).view(np.uint8).data
        if self._ranges is not None:
            wanted[:] = self._ranges.read_exactly(offset, len(wanted))
            return
        assert self._file is not None  # noqa: S101 - `_damage_named` has opened it
        descriptor = self._file.id.get_vfd_handle()
        done = 0
        while done < len(wanted):
            count = os.preadv(descriptor, [wanted[done:]], offset + done)
            if not count:
                raise StoreDamagedError("the file ends before its rows do")
            done += count

    def _dataset(self, video_id: str) -> h5py.Dataset:
        check_video_id(video_id)
        # Not `get`, which treats a system error like an absent name.
        found = self._features[video_id] if video_id in self._features else None  # noqa: SIM401
        if not isinstance(found, h5py.Dataset):
            raise UnknownVideoError(f"{self.path} has no features of the video {video_id!r}.")
        if not is_plausible(found):
            raise StoreDamagedError(f"the dataset of {video_id!r} is {found.dtype} {found.shape}, not (R, D) float16")
        return found

    def _reading(self) -> AbstractContextManager[None]:
        return safe_for_hdf5(self.path.url) if isinstance(self.path, RemotePath) else nullcontext()

    @contextmanager
    def _damage_named(self, *, uses_hdf5: bool = True) -> Iterator[None]:
        if self._closed:
            raise ValueError(f"The reader of {self.path} was closed. Open the file again.")
        try:
            if self._file is None:
                with self._reading():
                    self._open()
            with self._reading() if uses_hdf5 else nullcontext():
                yield
        except UnknownVideoError:
            raise
        except (StoreUnreadableError, StoreFileMissingError):
            self._discard()
            raise
        except (StoreDamagedError, *H5PY_ERRORS) as error:
            self._discard()
            if not isinstance(error, StoreDamagedError):
                raise_system_error(self.path, error)
            raise StoreDamagedError(
                f"{self.path} is not an intact shard file: {error}. Run `reeldex verify`, then `reeldex rerun` to "
                "extract it again, or restore it from a backup."
            ) from error


def _timing(dataset: h5py.Dataset) -> RowTiming:
    return RowTiming(dataset.shape[0], float(dataset.attrs["start_seconds"]), float(dataset.attrs["seconds_per_row"]))


def _walk(group: h5py.Group, prefix: str = "") -> Iterator[tuple[str, h5py.Dataset]]:
    for name in group:
        # Not `items`, which returns None for what the system does not allow reading.
        child = group[name]
        if isinstance(child, h5py.Group):
            yield from _walk(child, f"{prefix}{name}/")
        elif isinstance(child, h5py.Dataset):
            yield prefix + name, child
        else:
            raise StoreDamagedError(f"{prefix + name!r} is neither a dataset nor a group")
