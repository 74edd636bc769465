"""The captions of many videos as one memory-mapped file: it opens in seconds, and all processes share its pages.

Layout, all numbers little-endian: 16 bytes of magic, the length of the header (8 bytes), the header (JSON), from byte
4096 on one record per video, then the offsets of the records (8 bytes each), the ids and the problems. A record is
the number n of its captions (8 bytes), n starts and n ends in seconds (float64), n + 1 offsets of the texts (4 bytes),
and the texts in UTF-8. The ids are joined by a zero byte, in the order of the records. Problems (JSON) map ids to
why the captions of a video cannot be used.
"""

from __future__ import annotations

import itertools
import json
import mmap
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from reeldex.embedding.captions import VideoCaptions
from reeldex.embedding.errors import DatasetError
from reeldex.storage.atomic import publish
from reeldex.storage.schema import JSON

_MAGIC = b"reeldex-caption1"
_RECORDS_AT = 4096
_SEPARATOR = "\0"


@dataclass
class ReadCaptions:
    """The captions of a video as read from a file: usable ones, or a `problem`; `dropped` counts unusable rows."""

    video_id: str
    captions: VideoCaptions | None
    problem: str | None = None
    dropped: int = 0


@dataclass
class _Index:
    """What stays in memory while a cache is written: the place of each video's record, by id."""

    places: dict[str, int] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)

    def add(self, read: ReadCaptions, at: int) -> None:
        self.places.pop(read.video_id, None)
        self.problems.pop(read.video_id, None)
        self.dropped.pop(read.video_id, None)
        if read.captions is not None:
            self.places[read.video_id] = at
        if read.problem is not None:
            self.problems[read.video_id] = read.problem
        if read.dropped:
            self.dropped[read.video_id] = read.dropped


def write_cache(path: Path, videos: Iterable[ReadCaptions], source: dict[str, JSON]) -> None:
    """Publish the captions of videos as a cache; `source` describes the file they come from.

    Memory holds the ids and one video at a time. Of a video that comes again, the last captions count.
    """
    index = _Index()
    with publish(path) as temporary, temporary.open("wb") as file:
        file.seek(_RECORDS_AT)
        at = _RECORDS_AT
        for read in videos:
            index.add(read, at)
            if read.captions is not None:
                at += file.write(_record(read.captions))
        _finish(file, at, index, source)


def _record(captions: VideoCaptions) -> bytes:
    texts = [text.encode("utf-8", "surrogatepass") for text in captions.texts]
    offsets = np.fromiter(itertools.accumulate(map(len, texts), initial=0), "<u4", len(texts) + 1)
    times = np.array([captions.start_seconds, captions.end_seconds], "<f8")
    return b"".join((len(texts).to_bytes(8, "little"), times.tobytes(), offsets.tobytes(), *texts))


def _finish(file: IO[bytes], at: int, index: _Index, source: dict[str, JSON]) -> None:
    at += file.write(bytes(-at % 8))
    parts = {
        "offsets": np.fromiter(index.places.values(), "<i8", len(index.places)).tobytes(),
        "ids": _SEPARATOR.join(index.places).encode("utf-8", "surrogatepass"),
        "problems": json.dumps(index.problems).encode("ascii"),
    }
    places = {}
    for name, content in parts.items():
        places[name] = [at, len(content)]
        at += file.write(content)
    facts = {"source": source, "parts": places, "dropped": sum(index.dropped.values()), "size_bytes": at}
    header = json.dumps(facts).encode("ascii")
    if len(_MAGIC) + 8 + len(header) > _RECORDS_AT:
        raise ValueError(f"The header of {len(header)} bytes does not fit.")
    file.seek(0)
    file.write(_MAGIC + len(header).to_bytes(8, "little") + header)


def cached_source(path: Path) -> dict[str, JSON] | None:
    """Return the description of the source of a cache, None when there is no intact cache."""
    header = _read_header(path)
    return None if header is None else header["source"]


class CaptionFile:
    """The captions of many videos in an open cache; `path` names their source in messages.

    Memory holds the ids; captions are read from the mapped file. `dropped` counts the rows that could not be
    used. Pickling stores only the paths. Raises DatasetError when the cache is absent or damaged.
    """

    def __init__(self, path: Path, cache: Path) -> None:
        self.path, self.cache = path, cache
        header = _read_header(cache)
        if header is None:
            raise DatasetError(f"{cache} is not an intact cache of captions. Delete it; it is converted again.")
        with cache.open("rb") as file:
            self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        ids, problems = (self._part(header, name).decode("utf-8", "surrogatepass") for name in ("ids", "problems"))
        at, size = header["parts"]["offsets"]
        self._offsets = np.frombuffer(self._mapped, "<i8", size // 8, at)
        self._numbers = dict(zip(ids.split(_SEPARATOR), range(size // 8), strict=True)) if size else {}
        self._problems: dict[str, str] = json.loads(problems)
        self.dropped = int(header["dropped"])

    def __reduce__(self) -> tuple[type[CaptionFile], tuple[Path, Path]]:
        return CaptionFile, (self.path, self.cache)

    def _part(self, header: dict[str, Any], name: str) -> bytes:
        at, size = header["parts"][name]
        return self._mapped[at : at + size]

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._numbers or video_id in self._problems

    def captions(self, video_id: str) -> VideoCaptions:
        """Return the captions of a video; raises DatasetError when it has none or they are malformed."""
        number = self._numbers.get(video_id)
        if number is None:
            raise DatasetError(str(self.problem(video_id)))
        at = int(self._offsets[number])
        count = int.from_bytes(self._mapped[at : at + 8], "little")
        starts, ends = np.frombuffer(self._mapped, "<f8", 2 * count, at + 8).reshape(2, count).tolist()
        offsets = np.frombuffer(self._mapped, "<u4", count + 1, at + 8 + 16 * count).tolist()
        texts_at = at + 8 + 16 * count + 4 * (count + 1)
        letters = self._mapped[texts_at : texts_at + offsets[-1]]
        texts = (letters[first:stop].decode("utf-8", "surrogatepass") for first, stop in itertools.pairwise(offsets))
        return VideoCaptions(tuple(starts), tuple(ends), tuple(texts))

    def problem(self, video_id: str) -> str | None:
        """Return why a video's captions cannot be used, None when they can."""
        if video_id in self._numbers:
            return None
        if video_id in self._problems:
            return f"{self.path}: the captions of the video {video_id!r} cannot be used: {self._problems[video_id]}."
        return f"{self.path} has no captions of the video {video_id!r}."


def _read_header(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return None
            header: dict[str, Any] = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), _RECORDS_AT)))
        return header if path.stat().st_size == header["size_bytes"] else None
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
