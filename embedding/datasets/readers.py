"""Sources of clip vectors: precomputed vectors, whole videos, spans of videos, runs of rows."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from reeldex.embedding.block_pooling import (
    pool_groups,
    pool_spans,
    pool_whole,
    rows_before_start,
    rows_beyond_end,
    span_run,
)
from reeldex.embedding.damaged_rows import Ranges, only_damaged
from reeldex.embedding.datasets.clips import Clip
from reeldex.embedding.datasets.records import Vectors
from reeldex.embedding.errors import DatasetError, FeaturesError, listed, quoted
from reeldex.embedding.features import STREAMS, FeatureSource
from reeldex.embedding.pooling import join_streams
from reeldex.embedding.unpickling import load_pth
from reeldex.storage.schema import JSON
from reeldex.storage.shard import RowTiming

if TYPE_CHECKING:
    import torch

Half = npt.NDArray[Any]
# A clip may begin in a last row that was lost to rounding.
_SLACK_ROWS = 1


class VectorReader:
    """One precomputed vector per stream and video, as in the published .pth and .pkl files.

    They are L2-normalised by stream and joined, 2-D before 3-D. Raises DatasetError when their widths differ.
    """

    def __init__(self, path: Path, vectors: Mapping[str, tuple[Half, Half]]) -> None:
        self.path = path
        self._vectors = vectors
        if not vectors:
            raise DatasetError(f"{path} contains no features of any video.")
        first = next(iter(vectors.values()))
        self._widths = (len(first[0]), len(first[1]))
        for video_id, pair in vectors.items():
            for stream, vector, width in zip(STREAMS, pair, self._widths, strict=True):
                if vector.shape != (width,):
                    raise DatasetError(
                        f"{path}: the {stream} features of {quoted(video_id)} are {vector.shape}, others are "
                        f"({width},)."
                    )

    @property
    def video_dim(self) -> int:
        """Vector dimension."""
        return sum(self._widths)

    def problem(self, video_id: str) -> str | None:
        """Return why this video cannot be used, None when it can."""
        if video_id not in self._vectors:
            return f"{self.path} has no features of it"
        if not all(np.isfinite(vector).all() for vector in self._vectors[video_id]):
            return f"its features in {self.path} hold NaN or infinity"
        return None

    def part(self, clip: Clip) -> Hashable:  # noqa: ARG002 - there is one part
        """Return None: each clip is all of its video."""
        return None

    def read(self, clip: Clip) -> Vectors:
        """Return the vector of a clip's video; raises FeaturesError."""
        if clip.video_id not in self._vectors:
            raise FeaturesError(f"{self.path} has no features of the video {quoted(clip.video_id)}.")
        return join_streams(self._vectors[clip.video_id])

    def fingerprints(self) -> dict[str, JSON]:
        """Return file name and dimension: such files record nothing else."""
        return {
            name: {"space": None, "fingerprint": {"origin": "precomputed vectors", "dimensions": width}}
            for name, width in zip(STREAMS, self._widths, strict=True)
        }


def load_vectors(path: Path) -> VectorReader:
    """Read a published .pth file: {"2d": {video id: (D2,) tensor}, "3d": {video id: (D3,) tensor}}.

    Raises DatasetError when it is anything else; UnsafePickleError when it cannot be read safely.
    """
    import torch

    held = load_pth(path)
    if not isinstance(held, dict) or not set(STREAMS) <= set(held):
        keys = listed(map(repr, held)) if isinstance(held, dict) else type(held).__name__
        raise DatasetError(f"{path} must have the features under '2d' and '3d'; it has {keys}.")
    for stream in STREAMS:
        if not isinstance(held[stream], dict):
            raise DatasetError(f"{path}: {stream!r} must map video ids to tensors.")
        for video_id, vector in held[stream].items():
            if not _is_vector(vector):
                found = f"{vector.dtype} {tuple(vector.shape)}" if isinstance(vector, torch.Tensor) else type(vector)
                raise DatasetError(f"{path}: {stream!r} of {quoted(video_id)} is {found}, not a vector of floats.")
    two_d, three_d = held["2d"], held["3d"]
    shared = [video_id for video_id in two_d if video_id in three_d]
    return VectorReader(path, {video_id: (_numpy(two_d[video_id]), _numpy(three_d[video_id])) for video_id in shared})


def _is_vector(value: object) -> bool:
    import torch

    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
        return False
    return value.ndim == 1 and value.numel() > 0 and value.is_floating_point()


def _numpy(vector: torch.Tensor) -> Half:
    array: Half = vector.detach().float().numpy()
    return array


Streams = Sequence[tuple[RowTiming, Ranges]]
"""The times of the rows of each stream of a video, and its damaged rows."""


def streams_of(source: FeatureSource, video_id: str) -> Streams:
    """Return the times of the rows of each stream of a video, and its damaged rows; raises FeaturesError."""
    videos = [source.video(stream, video_id) for stream in range(len(STREAMS))]
    return [(video.timing, video.damaged) for video in videos]


@dataclass(frozen=True, eq=False)
class _SourceReader:
    source: FeatureSource

    @property
    def video_dim(self) -> int:
        """Vector dimension."""
        return sum(self.source.stream_dims)

    def problem(self, video_id: str) -> str | None:
        """Return why this video cannot be used, None when it can."""
        return self.source.problem(video_id)

    def fingerprints(self) -> dict[str, JSON]:
        """Return what defines the features of each stream."""
        return self.source.fingerprints()


@dataclass(frozen=True, eq=False)
class WholeVideoReader(_SourceReader):
    """Clips that are whole videos of a source."""

    def part(self, clip: Clip) -> Hashable:  # noqa: ARG002 - there is one part
        """Return None: each clip is all of its video."""
        return None

    def read(self, clip: Clip) -> Vectors:
        """Pool all rows of a clip's video; raises FeaturesError."""
        return pool_whole(self.source, clip.video_id)


@dataclass(frozen=True, eq=False)
class SpanReader(_SourceReader):
    """Clips that are spans of videos: `spans` maps clip ids to (start, end) in seconds."""

    spans: Mapping[str, tuple[float, float]]

    def part(self, clip: Clip) -> Hashable:
        """Return the clip's span."""
        return self.spans[clip.clip_id]

    def read(self, clip: Clip) -> Vectors:
        """Pool the rows of a clip's span; raises FeaturesError."""
        vector: Vectors = pool_spans(self.source, clip.video_id, [self.spans[clip.clip_id]], _SLACK_ROWS)[0]
        return vector

    def unusable_clips(self, clips: Iterable[Clip]) -> dict[str, str]:
        """Return the clips whose spans have no rows of their video, or only damaged ones, with what is wrong.

        Raises FeaturesError.
        """
        found = {}
        streams: dict[str, Streams] = {}
        for clip in clips:
            if clip.video_id not in streams:
                streams[clip.video_id] = streams_of(self.source, clip.video_id)
            if problem := span_problem(streams[clip.video_id], self.spans[clip.clip_id]):
                found[clip.clip_id] = problem
        return found


def span_problem(streams: Streams, span: tuple[float, float]) -> str | None:
    """Return why a SpanReader cannot read a span of a video, None when it can."""
    if max(rows_beyond_end(timing, span) for timing, _ in streams) > _SLACK_ROWS:
        return f"it begins at {span[0]:g} seconds, beyond the end of its video's features"
    if max(rows_before_start(timing, span) for timing, _ in streams) > _SLACK_ROWS:
        return f"it ends at {span[1]:g} seconds, before its video's features begin"
    return span_damage(streams, span, _SLACK_ROWS)


def span_damage(streams: Streams, span: tuple[float, float], slack_rows: int = 0) -> str | None:
    """Return in which stream a span has only damaged rows, as a reason why it cannot be used; None when in neither."""
    return _group_damage(streams, [[span_run(timing, span, slack_rows)] for timing, _ in streams])


def _group_damage(streams: Streams, groups: Sequence[Sequence[tuple[int, int]]]) -> str | None:
    for name, (timing, damaged), runs in zip(STREAMS, streams, groups, strict=True):
        if only_damaged(runs, damaged, timing.row_count):
            return f"all its {name} rows may show damaged pictures"
    return None


@dataclass(frozen=True, eq=False)
class SegmentReader(_SourceReader):
    """Clips that are runs of 3-D rows: `runs` maps clip ids to runs (first, stop), all pooled into one vector.

    The 2-D rows are floor(first * r) up to but not including ceil(stop * r), r being the ratio of the rates, and at
    least the last one.
    """

    runs: Mapping[str, Sequence[tuple[int, int]]]

    def part(self, clip: Clip) -> Hashable:
        """Return the clip's runs."""
        return tuple(self.runs[clip.clip_id])

    def read(self, clip: Clip) -> Vectors:
        """Pool the rows of a clip's runs; raises FeaturesError."""
        return pool_groups(self.source, clip.video_id, self._groups(clip, streams_of(self.source, clip.video_id)))

    def unusable_clips(self, clips: Iterable[Clip]) -> dict[str, str]:
        """Return the clips of only damaged rows, with what is wrong; raises FeaturesError."""
        found = {}
        streams: dict[str, Streams] = {}
        for clip in clips:
            if clip.video_id not in streams:
                streams[clip.video_id] = streams_of(self.source, clip.video_id)
            held = streams[clip.video_id]
            if damaged := _group_damage(held, self._groups(clip, held)):
                found[clip.clip_id] = damaged
        return found

    def _groups(self, clip: Clip, streams: Streams) -> tuple[Sequence[tuple[int, int]], Sequence[tuple[int, int]]]:
        runs = self.runs[clip.clip_id]
        (two_d, _), (three_d, _) = streams
        scaled = [scaled_run(run, rows_ratio(three_d, two_d)) for run in runs]
        last = two_d.row_count - 1
        return [(min(first, last), stop) for first, stop in scaled], runs


def rows_ratio(stream: RowTiming, other: RowTiming) -> Fraction:
    """Return the number of rows of the other stream per row of this one."""
    return Fraction(stream.seconds_per_row / other.seconds_per_row).limit_denominator(1000)


def scaled_run(run: tuple[int, int], ratio: Fraction) -> tuple[int, int]:
    """Return floor(first * ratio) and ceil(stop * ratio)."""
    return math.floor(run[0] * ratio), math.ceil(run[1] * ratio)


def deduplicate_ids(names: Iterable[str]) -> list[str]:
    """Return each name an id of its own: itself, and from its second occurrence on with #2, #3 ... behind it.

    A number that gives an existing name is skipped.
    """
    given = list(names)
    taken = set(given)
    counts: dict[str, int] = {}
    ids = []
    for name in given:
        number = counts.get(name, 0) + 1
        while number > 1 and f"{name}#{number}" in taken:
            number += 1
        counts[name] = number
        ids.append(name if number == 1 else f"{name}#{number}")
        taken.add(ids[-1])
    return ids
