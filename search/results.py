"""The results of a search, as frozen values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

from reeldex.storage.json_codec import to_json
from reeldex.storage.schema import JSON


@dataclass(frozen=True, slots=True)
class Moment:
    """A span of a video that was found.

    `path` is the video's file as the store records it. `score` is the inner product with the query, -1 to 1. `caption`
    is empty where there is none. `moment_id` is that of the best moment when several were merged; it stays the same as
    long as the index is not rebuilt. Raises ValueError for an invalid span.
    """

    moment_id: int
    video_id: str
    path: str
    start_seconds: float
    end_seconds: float
    score: float
    caption: str

    def __post_init__(self) -> None:
        if not (0 <= self.start_seconds <= self.end_seconds < math.inf):
            raise ValueError(
                f"A moment of {self.video_id!r} cannot last from {self.start_seconds} to {self.end_seconds} seconds."
            )

    def overlaps(self, other: Moment) -> bool:
        """Return whether both overlap in one video; spans that only touch do not."""
        return (
            self.video_id == other.video_id
            and self.start_seconds < other.end_seconds
            and other.start_seconds < self.end_seconds
        )

    def to_json(self) -> dict[str, JSON]:
        """Return the fields as JSON values."""
        found: dict[str, JSON] = to_json(self)
        return found


@dataclass(frozen=True, slots=True)
class SearchResults(Sequence[Moment]):
    """The moments found, best first; `unknown_words` of the query have no vector and were ignored."""

    moments: tuple[Moment, ...]
    unknown_words: tuple[str, ...]
    query: str

    @overload
    def __getitem__(self, at: int) -> Moment: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Moment, ...]: ...
    def __getitem__(self, at: int | slice) -> Moment | tuple[Moment, ...]:
        """Return a moment by its rank from 0."""
        return self.moments[at]

    def __len__(self) -> int:
        return len(self.moments)

    def __iter__(self) -> Iterator[Moment]:
        return iter(self.moments)

    def to_json(self) -> dict[str, JSON]:
        """Return the answer as JSON values."""
        return {
            "query": self.query,
            "unknown_words": list(self.unknown_words),
            "moments": [moment.to_json() for moment in self.moments],
        }


@dataclass(frozen=True, slots=True)
class IndexedVideo:
    """A video of the index; `path` as the store knows it, `duration_seconds` its length, `moments` how many it has."""

    video_id: str
    path: str
    duration_seconds: float
    moments: int


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """A description of an index.

    - `spaces`: the feature spaces of the streams 2d and 3d.
    - `factory`: the FAISS index; `exact` when it compares with every moment. `nprobe` is the number of lists
      that are searched, 0 when exact.
    - `shards`: those of the store with its videos.
    - `embed_dim`: dimension of an embedding; `searched_dim`: of the vectors in the FAISS index.
    - `recall_at_10`: share of the 10 best moments found, measured on `recall_sample` queries, `recall_queries` says
      of which kind.
    - `created`: when this state was published, ISO 8601 in UTC; `size_bytes`: of all files.
    """

    path: str
    moments: int
    videos: int
    store: str
    shards: tuple[int, ...]
    checkpoint: str
    checkpoint_sha256: str
    word_vectors: str
    word_vectors_sha256: str
    spaces: Mapping[str, str]
    factory: str
    exact: bool
    nprobe: int
    embed_dim: int
    searched_dim: int
    recall_at_10: float
    recall_sample: int
    recall_queries: str
    created: str
    generation: int
    size_bytes: int

    def to_json(self) -> dict[str, JSON]:
        """Return the fields as JSON values."""
        found: dict[str, JSON] = to_json(self)
        return found
