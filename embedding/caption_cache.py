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
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

import numpy as np

from reeldex.embedding.captions import VideoCaptions
from reeldex.embedding.errors import DatasetError, quoted
from reeldex.storage.atomic import publish
from reeldex.storage.schema import JSON

_MAGIC = b"reeldex-caption1"
_RECORDS_AT = 4096
_SEPARATOR = "\0"


@dataclass(frozen=True)
class ReadCaptions:
    """The captions of a video as read from a file: usable ones, or a `problem`; `dropped` counts unusable rows.

    They replace captions of the same video that came before, or with `continues` are added to them.
    """

    video_id: str
    captions: VideoCaptions | None
    problem: str | None = None
    dropped: int = 0
    continues: bool = False


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

    Memory holds the ids and one video at a time.
    """
    index = _Index()
    with publish(path) as temporary, temporary.open("w+b") as file:
        at = _RECORDS_AT
        file.seek(at)
        for each in videos:
            read = each
            if each.continues:
                read = _joined(index, file, each)
                file.seek(at)
            index.add(read, at)
            if read.captions is not None:
                at += file.write(_record(read.captions))
        _finish(file, at, index, source)


def _joined(index: _Index, file: IO[bytes], more: ReadCaptions) -> ReadCaptions:
    """Return captions together with those of the same video that were written before, in the order of the starts."""

    def read(at: int, size: int) -> bytes:
        file.seek(at)
        return file.read(size)

    place = index.places.get(more.video_id)
    parts = [_parsed(read, place)] if place is not None else []
    parts += [more.captions] if more.captions is not None else []
    rows = [row for part in parts for row in zip(part.start_seconds, part.end_seconds, part.texts, strict=True)]
    dropped = index.dropped.get(more.video_id, 0) + more.dropped
    if not rows:
        return ReadCaptions(more.video_id, None, more.problem, dropped)
    return ReadCaptions(
        more.video_id, VideoCaptions(*zip(*sorted(rows, key=itemgetter(0)), strict=True)), dropped=dropped
    )


def _record(captions: VideoCaptions) -> bytes:
    texts = [text.encode("utf-8", "surrogatepass") for text in captions.texts]
    offsets = np.fromiter(itertools.accumulate(map(len, texts), initial=0), "<u4", len(texts) + 1)
    times = np.array([captions.start_seconds, captions.end_seconds], "<f8")
    return b"".join((len(texts).to_bytes(8, "little"), times.tobytes(), offsets.tobytes(), *texts))


def _parsed(read: Callable[[int, int], bytes], at: int) -> VideoCaptions:
    """Return the captions of a record; `read` returns so many bytes from a place on."""
    count = int.from_bytes(read(at, 8), "little")
    starts, ends = np.frombuffer(read(at + 8, 16 * count), "<f8").reshape(2, count).tolist()
    offsets = np.frombuffer(read(at + 8 + 16 * count, 4 * (count + 1)), "<u4").tolist()
    letters = read(at + 8 + 16 * count + 4 * (count + 1), offsets[-1])
    texts = (letters[first:stop].decode("utf-8", "surrogatepass") for first, stop in itertools.pairwise(offsets))
    return VideoCaptions(tuple(starts), tuple(ends), tuple(texts))


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
        ids, problems = (
            self._read(*header["parts"][name]).decode("utf-8", "surrogatepass") for name in ("ids", "problems")
        )
        at, size = header["parts"]["offsets"]
        self._offsets = np.frombuffer(self._mapped, "<i8", size // 8, at)
        self._numbers = dict(zip(ids.split(_SEPARATOR), range(size // 8), strict=True)) if size else {}
        self._problems: dict[str, str] = json.loads(problems)
        self.dropped = int(header["dropped"])

    def __reduce__(self) -> tuple[type[CaptionFile], tuple[Path, Path]]:
        return CaptionFile, (self.path, self.cache)

    def _read(self, at: int, size: int) -> bytes:
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
        return _parsed(self._read, int(self._offsets[number]))

    def problem(self, video_id: str) -> str | None:
        """Return why a video's captions cannot be used, None when they can."""
        if video_id in self._numbers:
            return None
        if video_id in self._problems:
            return (
                f"{self.path}: the captions of the video {quoted(video_id)} cannot be used: {self._problems[video_id]}."
            )
        return f"{self.path} has no captions of the video {quoted(video_id)}."


def _read_header(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return None
            header: dict[str, Any] = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), _RECORDS_AT)))
        return header if path.stat().st_size == header["size_bytes"] else None
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
