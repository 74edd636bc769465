"""SHA-256 of feature rows and of whole files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reeldex.storage.json_codec import Integer, Text


def rows_sha256(rows: npt.NDArray[np.float16]) -> str:
    """Return the hex SHA-256 of a (R, D) float16 array.

    Hashed are the ASCII text `<dtype> <R>x<D>` and a newline, such as `<f2 96x2048`, then the bytes of the
    rows, little-endian and in C order. numpy and hashlib suffice to recompute it.
    """
    little_endian = np.ascontiguousarray(rows, dtype="<f2")
    return _sha256(rows.shape[0], rows.shape[1], little_endian.data)


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a file contains a video's rows: (row_count, width) float16 from `offset_bytes` on, and their hash."""

    offset_bytes: Integer
    row_count: Integer
    width: Integer
    sha256: Text


@dataclass(frozen=True)
class WrittenFile:
    """A feature file that was written: its size in bytes, its SHA-256 (hex), and the extent of each video's rows."""

    size_bytes: int
    sha256: str
    extents: Mapping[str, Extent]


def extent_is_intact(path: Path, extent: Extent) -> bool:
    """Return whether the bytes of a file at this place still have their hash; reads nothing else of the file."""
    with path.open("rb") as file:
        file.seek(extent.offset_bytes)
        content = file.read(extent.row_count * extent.width * 2)
    return _sha256(extent.row_count, extent.width, content) == extent.sha256


def _sha256(row_count: int, width: int, content: bytes | memoryview) -> str:
    digest = hashlib.sha256(f"<f2 {row_count}x{width}\n".encode("ascii"))
    digest.update(content)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file, which is read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
