"""Word vectors as one memory-mapped file: it opens immediately, and all processes share its pages.

Layout, all numbers little-endian: 16 bytes of magic, the length of the header (8 bytes), the header (JSON, with
the place of each array), then the arrays, each at a multiple of 4096 bytes:

- `vectors` (V, D) float32, in the source's order, so that frequent words are adjacent;
- `letters`: all words in UTF-8 one after the other, word i being letters[starts[i]:starts[i + 1]];
- `by_bucket`: word numbers sorted by bucket, bucket b being by_bucket[bucket_starts[b]:bucket_starts[b + 1]].

A word's bucket is the first bits of its CRC-32: a dict of 3 million words would take seconds to build and 0.5 GB
in every process.
"""

from __future__ import annotations

import json
import math
import mmap
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from reeldex.embedding.errors import WordVectorsError
from reeldex.storage.atomic import publish

_MAGIC = b"reeldex-words 1\n"
_ALIGNMENT_BYTES = 4096
_ROWS_AT_A_TIME = 1 << 16
_NAMES = ("vectors", "letters", "starts", "by_bucket", "bucket_starts")

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class MappedWords:
    """The arrays of an open cache, as views of mapped memory; `fingerprint` is the source's SHA-256."""

    fingerprint: str
    vectors: npt.NDArray[np.float32]
    letters: mmap.mmap
    letters_at: int
    starts: npt.NDArray[np.int64]
    by_bucket: npt.NDArray[np.int32]
    bucket_starts: npt.NDArray[np.int32]
    bucket_shift: int

    def word(self, number: int) -> bytes:
        """Return a word in UTF-8."""
        first, stop = int(self.starts[number]), int(self.starts[number + 1])
        return self.letters[self.letters_at + first : self.letters_at + stop]

    def find(self, word: bytes) -> int:
        """Return the number of a word in UTF-8, or -1."""
        bucket = zlib.crc32(word) >> self.bucket_shift
        for at in range(int(self.bucket_starts[bucket]), int(self.bucket_starts[bucket + 1])):
            number = int(self.by_bucket[at])
            if self.word(number) == word:
                return number
        return -1


def encoded(word: str) -> bytes:
    """Return a word as UTF-8 bytes, lone surrogates included."""
    return word.encode("utf-8", "surrogatepass")


def write_cache(path: Path, words: Sequence[str], vectors: Array, fingerprint: str) -> None:
    """Publish words and their (V, D) vectors as a cache file; `fingerprint` names the source's content."""
    if vectors.ndim != 2 or len(vectors) != len(words) or not vectors.size:
        raise ValueError(f"{len(words)} words need a matrix with as many vectors, not one of shape {vectors.shape}.")
    texts = [encoded(word) for word in words]
    starts = np.zeros(len(texts) + 1, dtype="<i8")
    np.cumsum([len(text) for text in texts], out=starts[1:])
    bits = min(31, max(1, math.ceil(math.log2(len(texts)))))
    buckets = np.fromiter((zlib.crc32(text) for text in texts), dtype=np.uint32, count=len(texts)) >> (32 - bits)
    by_bucket = np.argsort(buckets, kind="stable").astype("<i4")
    bucket_starts = np.zeros((1 << bits) + 1, dtype="<i4")
    np.cumsum(np.bincount(buckets, minlength=1 << bits), out=bucket_starts[1:])
    letters = np.frombuffer(b"".join(texts), dtype=np.uint8)
    with publish(path) as temporary, temporary.open("wb") as file:
        arrays = dict(zip(_NAMES, (vectors, letters, starts, by_bucket, bucket_starts), strict=True))
        _write(file, arrays, {"fingerprint": fingerprint, "bucket_bits": bits})


def _write(file: IO[bytes], arrays: dict[str, Array], facts: dict[str, object]) -> None:
    places = {}
    # Space is reserved for the header, whose length depends on the offsets in it.
    at = _ALIGNMENT_BYTES
    for name, array in arrays.items():
        dtype = "<f4" if name == "vectors" else array.dtype.str
        places[name] = {"at": at, "dtype": dtype, "shape": list(array.shape)}
        at = _aligned(at + array.size * np.dtype(dtype).itemsize)
    header = json.dumps({**facts, "arrays": places, "size_bytes": at}).encode("ascii")
    if len(_MAGIC) + 8 + len(header) > _ALIGNMENT_BYTES:
        raise ValueError(f"The header of {len(header)} bytes does not fit.")
    file.write(_MAGIC + len(header).to_bytes(8, "little") + header)
    for name, array in arrays.items():
        file.seek(int(str(places[name]["at"])))
        for first in range(0, len(array), _ROWS_AT_A_TIME):
            block = array[first : first + _ROWS_AT_A_TIME]
            file.write(np.ascontiguousarray(block, dtype=str(places[name]["dtype"])).data)
    file.truncate(at)


def _aligned(at: int) -> int:
    return -(-at // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES


def cache_fingerprint(path: Path) -> str | None:
    """Return the fingerprint of a cache's source, None when there is no intact cache."""
    try:
        return str(_read_header(path)["fingerprint"])
    except WordVectorsError:
        return None


def open_cache(path: Path) -> MappedWords:
    """Memory-map a cache file; reads only its header. Raises WordVectorsError when it is absent or damaged."""
    header = _read_header(path)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    places = header["arrays"]

    def view(name: str) -> Array:
        place = places[name]
        count = math.prod(place["shape"])
        return np.frombuffer(mapped, place["dtype"], count, place["at"]).reshape(place["shape"])

    return MappedWords(
        fingerprint=str(header["fingerprint"]),
        vectors=view("vectors"),
        letters=mapped,
        letters_at=int(places["letters"]["at"]),
        starts=view("starts"),
        by_bucket=view("by_bucket"),
        bucket_starts=view("bucket_starts"),
        bucket_shift=32 - int(header["bucket_bits"]),
    )


def _read_header(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            begins_well = file.read(len(_MAGIC)) == _MAGIC
            length = int.from_bytes(file.read(8), "little")
            header: dict[str, Any] = json.loads(file.read(length)) if begins_well and length < _ALIGNMENT_BYTES else {}
        size = path.stat().st_size
        fault = None if size == header["size_bytes"] else f"it has {size} bytes, not {header['size_bytes']}"
    except FileNotFoundError as error:
        # Other system errors are raised: they are no reason to delete the cache or to convert it again.
        fault = str(error)
    except (ValueError, KeyError, TypeError):
        fault = "its header is damaged"
    if fault:
        raise WordVectorsError(
            f"{path} is not an intact cache of word vectors: {fault}. Delete it; it is converted again from its source."
        )
    return header
