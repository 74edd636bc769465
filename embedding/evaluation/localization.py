"""Step localization: each step of a task is placed in one second of a video, in the task's order, and recalls.

Protocol: Miech et al., arXiv 1906.03327, section 5.2; Zhukov et al., arXiv 1903.08225, section 6.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from reeldex.embedding.datasets.localization import AnnotatedVideo, Draws, LocalizationSet
from reeldex.embedding.datasets.unusable import UnusableVideos
from reeldex.embedding.errors import EmbeddingError, ScoresError
from reeldex.embedding.model import TextVideoEmbedding
from reeldex.embedding.words.coverage import WordCoverage, measure_coverage
from reeldex.embedding.words.vectors import WordVectors
from reeldex.storage.json_codec import to_json
from reeldex.storage.schema import JSON

Similarities = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class VideoRecall:
    """How many of the steps that a video shows were found in it."""

    task_id: str
    video_id: str
    hits: int
    annotated: int

    @property
    def recall(self) -> float:
        """The share of the steps that were found."""
        return self.hits / self.annotated


@dataclass(frozen=True, slots=True)
class TaskRecall:
    """The recall of a task: the mean of its videos' recalls, and the share of all its steps in all its videos."""

    task_id: str
    title: str
    video_count: int
    recall: float
    pooled_recall: float


@dataclass(frozen=True, slots=True)
class DrawnRecall:
    """Mean and standard deviation of the average recall over draws that leave out videos of each task."""

    draws: int
    train_videos: int
    mean: float
    standard_deviation: float


@dataclass(frozen=True)
class LocalizationResult:
    """The recalls of a model on a test set by task; `average_recall` is the mean over tasks.

    `drawn` is None without draws, or when a task has no more videos than a draw leaves out. `without_steps` counts the
    videos in which no step is seen; they are left out. `coverage` is the share of the steps' words that have a vector.
    """

    name: str
    tasks: tuple[TaskRecall, ...]
    unusable: UnusableVideos
    not_annotated: int
    without_steps: int
    drawn: DrawnRecall | None = None
    coverage: WordCoverage | None = None

    @property
    def average_recall(self) -> float:
        """The mean of the tasks' recalls, the figure of the HowTo100M paper."""
        return sum(task.recall for task in self.tasks) / len(self.tasks)

    @property
    def pooled_recall(self) -> float:
        """The mean of the tasks' pooled recalls, the figure of the CrossTask paper."""
        return sum(task.pooled_recall for task in self.tasks) / len(self.tasks)

    @property
    def video_count(self) -> int:
        """The number of videos."""
        return sum(task.video_count for task in self.tasks)

    def figures(self) -> dict[str, float]:
        """Return the averages by name, for TensorBoard and to choose the best checkpoint by."""
        at = f"{self.name}/localization"
        return {f"{at}/average_recall": self.average_recall, f"{at}/pooled_recall": self.pooled_recall}


def place_steps(similarities: Similarities) -> npt.NDArray[np.int64]:
    """Return the second of each step for (T, K) similarities: (K,) increasing, with the largest sum.

    Among equal sums the last step is placed as early as possible, then the one before it, and so on. Raises ScoresError
    for NaN, and when there are fewer seconds than steps.
    """
    seconds, steps = similarities.shape
    if seconds < steps or not steps:
        raise ScoresError(f"{steps} steps cannot be placed in {seconds} seconds, one in each.")
    if np.isnan(similarities).any():
        raise ScoresError("Similarities of steps and seconds are NaN. Check the checkpoint and the features for NaN.")
    best = np.full((steps, seconds), -np.inf)
    best[0] = similarities[:, 0]
    for step in range(1, steps):
        before = np.maximum.accumulate(best[step - 1])
        best[step, 1:] = similarities[1:, step].astype(np.float64) + before[:-1]
    placed = np.empty(steps, dtype=np.int64)
    stop = seconds
    for step in range(steps - 1, -1, -1):
        # The second `step` is the first one that leaves seconds for the steps before.
        placed[step] = stop = step + int(np.argmax(best[step, step:stop]))
    return placed


def localize(
    model: TextVideoEmbedding, test_set: LocalizationSet, words: WordVectors, batch_size: int
) -> LocalizationResult:
    """Place the steps of all videos of a set and return the recalls; the model is left in evaluation mode.

    Raises EmbeddingError when the dimensions of the set's vectors do not match the model's.
    """
    spec = model.spec
    if test_set.video_dim != spec.video_dim or words.dim != spec.word_dim:
        raise EmbeddingError(
            f"The model takes video vectors of {spec.video_dim} and word vectors of {spec.word_dim} dimensions; those "
            f"of {test_set.name} have {test_set.video_dim}, the word vectors {words.dim}. Use those of its training."
        )
    model.eval()
    steps = {
        task_id: _embed_steps(model, task.steps, words)
        for task_id, task in test_set.tasks.items()
        if any(video.task_id == task_id for video in test_set.videos)
    }
    recalls = []
    for video in test_set.videos:
        similarities = _embed_seconds(model, test_set, video, batch_size) @ steps[video.task_id].T
        recalls.append(video_recall(video, place_steps(similarities), test_set.truth(video, len(similarities))))
    return replace(summarise_recalls(test_set, recalls), coverage=measure_coverage(test_set.captions, words))


def video_recall(video: AnnotatedVideo, placed: npt.NDArray[np.int64], truth: npt.NDArray[np.bool_]) -> VideoRecall:
    """Count the steps that were placed where (T, K) `truth` has them, and those that it has at all."""
    hits = truth[placed, np.arange(len(placed))]
    return VideoRecall(video.task_id, video.video_id, int(hits.sum()), int(truth.any(axis=0).sum()))


def summarise_recalls(test_set: LocalizationSet, recalls: Sequence[VideoRecall]) -> LocalizationResult:
    """Return the recalls by task, of the tasks with videos that show a step; raises ScoresError when there are none."""
    shown = {
        task_id: [each for each in recalls if each.task_id == task_id and each.annotated] for task_id in test_set.tasks
    }
    shown = {task_id: found for task_id, found in shown.items() if found}
    if not shown:
        raise ScoresError(f"No video of {test_set.name} shows a step within its features.")
    tasks = tuple(
        TaskRecall(
            task_id,
            test_set.tasks[task_id].title,
            len(found),
            sum(each.recall for each in found) / len(found),
            sum(each.hits for each in found) / sum(each.annotated for each in found),
        )
        for task_id, found in shown.items()
    )
    return LocalizationResult(
        test_set.name,
        tasks,
        test_set.unusable,
        test_set.not_annotated,
        len(recalls) - sum(map(len, shown.values())),
        _drawn(shown, test_set.draws),
    )


def _drawn(shown: Mapping[str, Sequence[VideoRecall]], draws: Draws) -> DrawnRecall | None:
    if not draws.count or any(len(found) <= draws.train_videos for found in shown.values()):
        return None
    random = np.random.RandomState(draws.seed)
    averages = []
    for _ in range(draws.count):
        tested = []
        for found in shown.values():
            left_out = random.choice(len(found), draws.train_videos, replace=False)
            tested.append(np.delete([each.recall for each in found], left_out).mean())
        averages.append(np.mean(tested))
    return DrawnRecall(draws.count, draws.train_videos, float(np.mean(averages)), float(np.std(averages)))


def _embed_steps(model: TextVideoEmbedding, steps: Sequence[str], words: WordVectors) -> npt.NDArray[np.float32]:
    vectors = torch.from_numpy(words.sentence_vectors(steps, model.spec.max_words))
    with torch.no_grad():
        embedded: npt.NDArray[np.float32] = model.embed_sentences(vectors.to(_device(model))).float().cpu().numpy()
    return embedded


def _embed_seconds(
    model: TextVideoEmbedding, test_set: LocalizationSet, video: AnnotatedVideo, batch_size: int
) -> npt.NDArray[np.float32]:
    vectors = torch.from_numpy(test_set.seconds(video))
    parts = []
    for first in range(0, len(vectors), batch_size):
        with torch.no_grad():
            embedded = model.embed_videos(vectors[first : first + batch_size].to(_device(model)))
        parts.append(embedded.float().cpu().numpy())
    return np.concatenate(parts)


def _device(model: TextVideoEmbedding) -> torch.device:
    return next(model.parameters()).device


def localization_json(result: LocalizationResult) -> dict[str, JSON]:
    """Return all figures as JSON; recalls are in 0..1."""
    return {
        "average_recall": result.average_recall,
        "pooled_recall": result.pooled_recall,
        "tasks": [to_json(task) for task in result.tasks],
        "drawn": None if result.drawn is None else to_json(result.drawn),
        "words": None if result.coverage is None else result.coverage.to_json(),
        "videos": result.video_count,
        "unusable_videos": len(result.unusable.reasons),
        "unusable_rows": len(result.unusable.rows),
        "not_annotated_videos": result.not_annotated,
        "videos_without_steps": result.without_steps,
    }
