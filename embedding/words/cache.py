"""Word vectors as one memory-mapped file.

Its format is that of `mapped_arrays.py`, with these arrays:

- `vectors` (V, D) float32, in the source's order, so that frequent words are adjacent;
- `letters`: all words in UTF-8 one after the other, word i being letters[starts[i]:starts[i + 1]];
- `by_bucket`: word numbers sorted by bucket, bucket b being by_bucket[bucket_starts[b]:bucket_starts[b + 1]].

A word's bucket is the first bits of its CRC-32: a dict of 3 million words would take seconds to build and 0.5 GB
in every process.
"""

from __future__ import annotations

import math
import mmap
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reeldex.embedding.errors import WordVectorsError
from reeldex.embedding.mapped_arrays import Array, MappedArraysError, open_arrays, read_header, write_arrays
from reeldex.storage.atomic import publish

_MAGIC = b"reeldex-words 1\n"


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
    arrays = {
        "vectors": np.asarray(vectors, dtype="<f4"),
        "letters": letters,
        "starts": starts,
        "by_bucket": by_bucket,
        "bucket_starts": bucket_starts,
    }
    with publish(path) as temporary:
        write_arrays(temporary, _MAGIC, {"fingerprint": fingerprint, "bucket_bits": bits}, arrays)


def cache_fingerprint(path: Path) -> str | None:
    """Return the fingerprint of a cache's source, None when there is no intact cache."""
    try:
        return str(read_header(path, _MAGIC)["fingerprint"])
    except MappedArraysError:
        return None


def open_cache(path: Path) -> MappedWords:
    """Memory-map a cache file; reads only its header. Raises WordVectorsError when it is absent or damaged."""
    try:
        opened = open_arrays(path, _MAGIC)
    except MappedArraysError as error:
        raise WordVectorsError(
            f"{path} is not an intact cache of word vectors: {error}. Delete it; it is converted again from its source."
        ) from error
    return MappedWords(
        fingerprint=str(opened.facts["fingerprint"]),
        vectors=opened.arrays["vectors"],
        letters=opened.memory,
        letters_at=opened.places["letters"],
        starts=opened.arrays["starts"],
        by_bucket=opened.arrays["by_bucket"],
        bucket_starts=opened.arrays["bucket_starts"],
        bucket_shift=32 - int(opened.facts["bucket_bits"]),
    )
