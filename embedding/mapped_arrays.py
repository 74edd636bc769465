"""Arrays in one memory-mapped file: it opens immediately, and all processes share its pages.

Layout, all numbers little-endian: 16 bytes of magic, which names the kind of file; the length of the header (8 bytes);
the header (JSON, with facts and the place of each array); then the arrays, each at a multiple of 4096 bytes.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

_MAGIC_BYTES = 16
_ALIGNMENT_BYTES = 4096
_ROWS_AT_A_TIME = 1 << 16

Array = np.ndarray[Any, Any]


class MappedArraysError(Exception):
    """A file of mapped arrays is absent or damaged; the message says how."""


@dataclass(frozen=True, eq=False, slots=True)
class MappedArrays:
    """An open file: `facts` and read-only `arrays` by name, views of `memory`; `places` has each array's offset."""

    facts: Mapping[str, Any]
    arrays: Mapping[str, Array]
    memory: mmap.mmap
    places: Mapping[str, int]


def write_arrays(path: Path, magic: bytes, facts: Mapping[str, object], arrays: Mapping[str, Array]) -> None:
    """Write arrays, whose dtypes are little-endian, with facts (JSON) to a file, which the caller publishes."""
    if len(magic) != _MAGIC_BYTES:
        raise ValueError(f"The magic {magic!r} has {len(magic)} bytes, not {_MAGIC_BYTES}.")
    places = {}
    # Space is reserved for the header, whose length depends on the offsets in it.
    at = _ALIGNMENT_BYTES
    for name, array in arrays.items():
        places[name] = {"at": at, "dtype": array.dtype.str, "shape": list(array.shape)}
        at = _aligned(at + array.nbytes)
    header = json.dumps({**facts, "arrays": places, "size_bytes": at}).encode("ascii")
    if _MAGIC_BYTES + 8 + len(header) > _ALIGNMENT_BYTES:
        raise ValueError(f"The header of {len(header)} bytes does not fit.")
    with path.open("wb") as file:
        file.write(magic + len(header).to_bytes(8, "little") + header)
        for name, array in arrays.items():
            file.seek(int(str(places[name]["at"])))
            _write_rows(file, array)
        file.truncate(at)


def _write_rows(file: IO[bytes], array: Array) -> None:
    for first in range(0, len(array), _ROWS_AT_A_TIME):
        file.write(np.ascontiguousarray(array[first : first + _ROWS_AT_A_TIME]).data)


def _aligned(at: int) -> int:
    return -(-at // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES


def open_arrays(path: Path, magic: bytes) -> MappedArrays:
    """Memory-map a file; reads only its header. Raises MappedArraysError when it is absent or damaged.

    Other system errors are raised: they are no reason to delete the file or to write it again.
    """
    header = read_header(path, magic)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    arrays = {
        name: np.frombuffer(mapped, place["dtype"], math.prod(place["shape"]), place["at"]).reshape(place["shape"])
        for name, place in header["arrays"].items()
    }
    places = {name: int(place["at"]) for name, place in header["arrays"].items()}
    return MappedArrays(header, arrays, mapped, places)


def read_header(path: Path, magic: bytes) -> dict[str, Any]:
    """Return the facts of a file; raises as `open_arrays` does."""
    try:
        with path.open("rb") as file:
            begins_well = file.read(len(magic)) == magic
            length = int.from_bytes(file.read(8), "little")
            header: dict[str, Any] = json.loads(file.read(length)) if begins_well and length < _ALIGNMENT_BYTES else {}
        size = path.stat().st_size
        if size == header["size_bytes"]:
            return header
        fault = f"it has {size} bytes, not {header['size_bytes']}"
    except FileNotFoundError as error:
        fault = str(error)
    except (ValueError, KeyError, TypeError):
        fault = "its header is damaged"
    raise MappedArraysError(fault)
