"""Recalls of step localization as a table, beside the published ones (arXiv 1906.03327, table 4)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from reeldex.embedding.evaluation.localization import LocalizationResult
from reeldex.embedding.evaluation.tables import Table
from reeldex.quantities import counted

_COLUMNS = ("test set", "task", "recall", "pooled", "published", "videos")

PUBLISHED_AVERAGES: Mapping[str, float] = MappingProxyType(
    {
        "HowTo100M, zero-shot": 33.6,
        "Zhukov et al., weakly supervised": 22.4,
        "Alayrac et al.": 13.3,
        "fully supervised": 31.6,
    }
)
"""Average recalls over the 18 tasks in per cent, by method."""

PUBLISHED_RECALLS: Mapping[str, float] = MappingProxyType({"105222": 33.5, "16815": 24.1, "44789": 30.7})
"""Recalls of the HowTo100M model in per cent by task id; those of the other tasks are not recorded here."""

PRIMARY_TASKS = frozenset(
    {
        "105222", "105253", "109972", "113766", "16815", "23521", "40567", "44047", "44789", "53193", "59684", "71781",
        "76400", "77721", "87706", "91515", "94276", "95603",
    }
)  # fmt: skip
"""The 18 tasks of the published figures."""


def localization_table(result: LocalizationResult, title: str) -> Table:
    """Return the recall of each task in per cent and the averages, with the published ones."""
    rows = [
        (result.name, task.title, f"{100 * task.recall:.1f}", f"{100 * task.pooled_recall:.1f}",
         _published(task.task_id), str(task.video_count))
        for task in result.tasks
    ]  # fmt: skip
    averages = (f"{100 * result.average_recall:.1f}", f"{100 * result.pooled_recall:.1f}")
    rows.append((result.name, "average", *averages, "", str(result.video_count)))
    if (drawn := result.drawn) is not None:
        spread = f"{100 * drawn.mean:.1f} ± {100 * drawn.standard_deviation:.1f}"
        left = result.video_count - drawn.train_videos * len(result.tasks)
        rows.append((result.name, f"average of {counted(drawn.draws, 'draw')}", spread, "", "", str(left)))
    rows += [
        (result.name, f"  published average: {name}", "", "", f"{recall:.1f}", "")
        for name, recall in PUBLISHED_AVERAGES.items()
    ]
    return Table(title, _COLUMNS, tuple(rows), tuple(_notes(result)))


def recall_in_words(result: LocalizationResult) -> str:
    """Return the average recall in a sentence without its full stop."""
    size = f"{counted(len(result.tasks), 'task')}, {counted(result.video_count, 'video')}"
    return f"{result.name} ({size}): average recall {100 * result.average_recall:.1f}"


def _published(task_id: str) -> str:
    recall = PUBLISHED_RECALLS.get(task_id)
    return "" if recall is None else f"{recall:.1f}"


def _notes(result: LocalizationResult) -> list[str]:
    explained = (
        f"{result.name}: recall is the mean over the videos of a task of the share of their steps that were found; "
        "pooled counts the steps of all its videos together. Averages are over tasks."
    )
    notes = [explained]
    if result.coverage is not None:
        notes.append(f"{result.name}: {result.coverage}.")
    if (drawn := result.drawn) is not None:
        notes.append(
            f"{result.name}: each draw leaves out {counted(drawn.train_videos, 'video')} of each task; mean and "
            "standard deviation."
        )
    left_out = {
        "could not be used": len(result.unusable.reasons),
        "had no annotations": result.not_annotated,
        "showed no step": result.without_steps,
    }
    notes += [f"{result.name}: {counted(count, 'video')} {why}." for why, count in left_out.items() if count]
    if result.unusable.rows:
        notes.append(f"{result.name}: {counted(len(result.unusable.rows), 'annotation row')} could not be used.")
    tasks = {task.task_id for task in result.tasks}
    if tasks != PRIMARY_TASKS:
        notes.append(
            f"{result.name}: the published figures are over the {len(PRIMARY_TASKS)} primary tasks, of which these are "
            f"{len(tasks & PRIMARY_TASKS)}: they cannot be compared."
        )
    elif result.unusable.reasons or result.not_annotated or result.unusable.rows:
        notes.append(f"{result.name}: with these left out, this is not quite the published protocol.")
    return notes
