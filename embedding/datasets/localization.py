"""A test set for step localization: the ordered steps of tasks, and when they are seen in videos."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from reeldex.embedding.block_pooling import pool_runs
from reeldex.embedding.datasets.records import EvaluationSet, Vectors
from reeldex.embedding.datasets.unusable import UnusableVideos
from reeldex.embedding.errors import FeaturesError
from reeldex.embedding.features import STREAMS, FeatureSource
from reeldex.storage.schema import JSON


@dataclass(frozen=True)
class Task:
    """A task and its steps in their order."""

    task_id: str
    title: str
    steps: tuple[str, ...]


@dataclass(frozen=True)
class StepSpan:
    """A step, counted from 0, seen from `start_seconds` to `end_seconds`."""

    step: int
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class AnnotatedVideo:
    """A video of a task and the spans of its steps; a step may have several or none."""

    task_id: str
    video_id: str
    spans: tuple[StepSpan, ...]


@dataclass(frozen=True, slots=True)
class Draws:
    """How often videos of each task are left out at random, and how many."""

    count: int
    train_videos: int
    seed: int


@dataclass(frozen=True, eq=False)
class LocalizationSet:
    """Tasks by id, and the annotated videos to place their steps in; each second of a video is one row.

    `not_annotated` counts listed videos without annotations.
    """

    name: str
    tasks: Mapping[str, Task]
    videos: Sequence[AnnotatedVideo]
    source: FeatureSource
    draws: Draws
    inclusive_end: bool = False
    unusable: UnusableVideos = field(default_factory=UnusableVideos)
    not_annotated: int = 0

    @property
    def video_dim(self) -> int:
        """Vector dimension."""
        return sum(self.source.stream_dims)

    @property
    def captions(self) -> tuple[str, ...]:
        """The texts of all steps."""
        return tuple(step for task in self.tasks.values() for step in task.steps)

    def fingerprints(self) -> dict[str, JSON]:
        """Return what defines the features of each stream, to compare with a checkpoint."""
        return self.source.fingerprints()

    def seconds(self, video: AnnotatedVideo) -> Vectors:
        """Return the vectors of a video's T seconds: (T, video_dim) float32, each stream L2-normalised.

        T is the number of 2-D rows; the 3-D rows are pooled to it by adaptive max pooling. Raises FeaturesError.
        """
        two_d, three_d = (self.source.video(stream, video.video_id).rows for stream in range(len(STREAMS)))
        count = len(two_d)
        runs = ([(at, at + 1) for at in range(count)], adaptive_runs(len(three_d), count))
        try:
            streams = [pool_runs(rows, each) for rows, each in zip((two_d, three_d), runs, strict=True)]
        except ValueError as error:
            raise FeaturesError(
                f"The features of the video {video.video_id!r} cannot be used: {error}. "
                "Extract this video again, or leave it out of videos.csv."
            ) from error
        return np.concatenate(streams, axis=1)

    def truth(self, video: AnnotatedVideo, row_count: int) -> npt.NDArray[np.bool_]:
        """Return in which of a video's rows each step is seen: (rows, steps)."""
        first_second = self.source.video(0, video.video_id).timing.start_seconds
        seen = np.zeros((row_count, len(self.tasks[video.task_id].steps)), dtype=np.bool_)
        for span in video.spans:
            first = max(0, math.floor(span.start_seconds - first_second))
            stop = max(0, math.ceil(span.end_seconds - first_second) + self.inclusive_end)
            seen[first:stop, span.step] = True
        return seen


EvaluatedSet: TypeAlias = EvaluationSet | LocalizationSet


def adaptive_runs(row_count: int, target: int) -> list[tuple[int, int]]:
    """Return the `target` runs of adaptive pooling: floor(t * rows / target) up to ceil((t + 1) * rows / target)."""
    return [(at * row_count // target, -(-(at + 1) * row_count // target)) for at in range(target)]
