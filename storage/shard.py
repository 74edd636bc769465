"""One HDF5 file: the features of a shard's videos in one space."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
import numpy.typing as npt

from reeldex.storage.atomic import publish
from reeldex.storage.errors import StoreDamagedError, StoreFileMissingError, StoreUnreadableError, UnknownVideoError
from reeldex.storage.hashing import Extent, WrittenFile, file_sha256
from reeldex.storage.hdf5 import H5PY_ERRORS, create, open_ranges, open_to_read, raise_system_error
from reeldex.storage.remote_path import RemotePath
from reeldex.storage.remote_ranges import RangeReader
from reeldex.storage.row_datasets import damaged_rows, is_plausible, read_rows, room_for, write_rows
from reeldex.storage.schema import FORMAT, FORMAT_VERSION, JSON, FeatureRows, FeatureSpace, check_video_id
from reeldex.storage.system_errors import look_at

# Dataset headers and links; the limit bounds the unused rest of it.
_METADATA_BYTES_PER_VIDEO = 2048
_MOST_METADATA_BYTES = 4 << 20


def write_shard(  # noqa: PLR0913 - what the file holds, and a hint
    path: Path,
    space: FeatureSpace,
    shard: int,
    items: Iterable[tuple[str, FeatureRows]],
    provenance: Mapping[str, JSON],
    *,
    video_count: int = 0,
) -> WrittenFile:
    """Publish the features of a shard's videos as one HDF5 file; keeps one video in memory at a time.

    With `video_count`, about the number of items, what HDF5 needs to find rows is in one piece near the start of the
    file: from an object store, it is then fetched by one request.

    Writes `/features/<video id>`, (R, D) float16, contiguous, with the attributes start_seconds,
    seconds_per_row, duration_seconds (NaN when unknown), truncated, source, position (the video's place in
    the file) and sha256 (see `hashing.rows_sha256`); where known also damaged_rows (N, 2), colour_range, colour_matrix,
    colour_primaries and colour_transfer. The root carries format, format_version, space,
    fingerprint (JSON), provenance (JSON), shard, created (ISO 8601, UTC). Equal items give equal datasets.
    Raises ValueError for an id that is invalid, occurs twice or is a folder of another, and for rows of different
    dimensions.
    """
    with publish(path) as temporary:
        with create(temporary, min(_METADATA_BYTES_PER_VIDEO * video_count, _MOST_METADATA_BYTES)) as file:
            file.attrs["format"] = FORMAT
            file.attrs["format_version"] = FORMAT_VERSION
            file.attrs["space"] = space.name
            file.attrs["fingerprint"] = space.fingerprint_json()
            file.attrs["provenance"] = json.dumps(dict(provenance), sort_keys=True)
            file.attrs["shard"] = shard
            file.attrs["created"] = datetime.now(UTC).isoformat(timespec="seconds")
            _write_features(file.create_group("features", track_order=True), space, items)
        with ShardReader(temporary) as reader:
            return WrittenFile(temporary.stat().st_size, file_sha256(temporary), reader.extents())


def _write_features(features: h5py.Group, space: FeatureSpace, items: Iterable[tuple[str, FeatureRows]]) -> None:
    width: int | None = None
    for position, (video_id, rows) in enumerate(items):
        check_video_id(video_id)
        width = width or rows.rows.shape[1]
        if rows.rows.shape[1] != width:
            raise ValueError(
                f"The rows of {video_id!r} have dimension {rows.rows.shape[1]}, others of {space.name} {width}."
            )
        write_rows(_parent(features, video_id), video_id.rpartition("/")[2], rows, position)


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
            if not rows.size:
                return rows
            if place.offset is None:
                self._dataset(video_id).read_direct(rows, np.s_[begin:end])
            else:
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

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        if self._closed:
            raise ValueError(f"The reader of {self.path} was closed. Open the file again.")
        try:
            if self._file is None:
                self._open()
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


def _parent(features: h5py.Group, video_id: str) -> h5py.Group:
    group = features
    for folder in video_id.split("/")[:-1]:
        child = group.get(folder)
        if child is None:
            child = group.create_group(folder, track_order=True)
        if isinstance(child, h5py.Dataset):
            raise ValueError(  # noqa: TRY004 - the id is at fault, not a type
                f"The id {video_id!r} has the id {child.name!r} as its folder; one file cannot contain both."
            )
        group = child
    return group


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
