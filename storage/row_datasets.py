"""Reads and writes the rows of one video as an HDF5 dataset."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from reeldex.storage.errors import StoreDamagedError
from reeldex.storage.hashing import rows_sha256
from reeldex.storage.schema import COLOUR_PROPERTIES, FeatureRows
from reeldex.storage.write_errors import RESERVED_BYTES, refuse_if_full

_COLOUR = "colour_"
_DAMAGED = "damaged_rows"
# An HDF5 attribute has at most 64 KiB; a range takes 16 bytes.
_MOST_RANGES = 4000


def write_rows(group: h5py.Group, name: str, rows: FeatureRows, position: int) -> None:
    """Write one video as the dataset `name`; raises ValueError when the name is taken."""
    # Once a write has failed, the HDF5 library fails again for each object that it still holds, and h5py prints that.
    refuse_if_full(Path(group.file.filename), rows.rows.nbytes + RESERVED_BYTES)
    if name in group:
        raise ValueError(f"{group.name}/{name} already exists: an id occurs twice or is a folder of another one.")
    dataset = group.create_dataset(name, data=np.ascontiguousarray(rows.rows, dtype="<f2"))
    dataset.attrs["start_seconds"] = float(rows.start_seconds)
    dataset.attrs["seconds_per_row"] = float(rows.seconds_per_row)
    dataset.attrs["duration_seconds"] = math.nan if rows.duration_seconds is None else float(rows.duration_seconds)
    dataset.attrs["truncated"] = bool(rows.truncated)
    dataset.attrs["position"] = position
    # h5py writes a str only if it is valid UTF-8, and file names may not be.
    source = rows.source.encode("utf-8", "surrogateescape")
    dataset.attrs.create("source", source, dtype=h5py.string_dtype("utf-8"))
    for key, value in sorted(rows.colour.items()):
        dataset.attrs[_COLOUR + key] = value
    if rows.damaged_rows is not None:
        dataset.attrs[_DAMAGED] = np.array(_joined(rows.damaged_rows), dtype="<i8").reshape(-1, 2)
    dataset.attrs["sha256"] = rows_sha256(rows.rows)


def _joined(ranges: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """Return the ranges as they can be stored: with the smallest gaps closed, so that there are at most _MOST_RANGES.

    Each row of `ranges` stays in one; the rows of the closed gaps count as damaged, too.
    """
    if len(ranges) <= _MOST_RANGES:
        return ranges
    bounds = np.array(ranges, dtype=np.int64)
    gaps = bounds[1:, 0] - bounds[:-1, 1]
    widest = np.sort(np.argsort(-gaps, kind="stable")[: _MOST_RANGES - 1])
    firsts, stops = bounds[[0, *(widest + 1)], 0], bounds[[*widest, -1], 1]
    return list(zip(firsts.tolist(), stops.tolist(), strict=True))


def read_rows(dataset: h5py.Dataset) -> FeatureRows:
    """Return the features that `write_rows` wrote, checked against the recorded SHA-256.

    Raises StoreDamagedError when they differ, and what h5py raises when the file cannot be read.
    """
    if not is_plausible(dataset):
        raise StoreDamagedError(f"the dataset {dataset.name} is {dataset.dtype} {dataset.shape}, not (R, D) float16")
    rows = room_for(dataset.shape)
    dataset.read_direct(rows)
    if rows_sha256(rows) != dataset.attrs["sha256"]:
        raise StoreDamagedError(f"the rows of {dataset.name} do not match the SHA-256 recorded with them")
    duration_seconds = float(dataset.attrs["duration_seconds"])
    return FeatureRows(
        rows=rows,
        start_seconds=float(dataset.attrs["start_seconds"]),
        seconds_per_row=float(dataset.attrs["seconds_per_row"]),
        duration_seconds=None if math.isnan(duration_seconds) else duration_seconds,
        truncated=bool(dataset.attrs["truncated"]),
        source=str(dataset.attrs["source"]),
        colour={key: str(dataset.attrs[_COLOUR + key]) for key in COLOUR_PROPERTIES if _COLOUR + key in dataset.attrs},
        damaged_rows=damaged_rows(dataset),
    )


def damaged_rows(dataset: h5py.Dataset) -> tuple[tuple[int, int], ...] | None:
    """Return the ranges of rows that may show damaged pictures; None if that was not recorded."""
    if _DAMAGED not in dataset.attrs:
        return None
    return tuple((int(first), int(stop)) for first, stop in dataset.attrs[_DAMAGED])


def is_plausible(dataset: h5py.Dataset) -> bool:
    """Return whether a dataset can be rows of a video: (R, D) float16, no larger than the file."""
    # A damaged shape must not make numpy reserve more memory than the file has bytes.
    return bool(
        dataset.dtype == np.float16
        and dataset.ndim == 2
        and dataset.size
        and dataset.id.get_storage_size() == dataset.size * dataset.dtype.itemsize
        and dataset.id.get_storage_size() <= dataset.file.id.get_filesize()
    )


def room_for(shape: tuple[int, ...]) -> npt.NDArray[np.float16]:
    """Return an array for rows of a plausible shape; raises OSError when memory is exhausted."""
    try:
        return np.empty(shape, np.float16)
    except MemoryError as error:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from error
