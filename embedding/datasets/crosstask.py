"""CrossTask: instructional videos of tasks with ordered steps, annotated with when each step is seen.

Protocol: Miech et al., arXiv 1906.03327, section 5.2; Zhukov et al., arXiv 1903.08225, section 6.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reeldex.embedding.datasets.crosstask_options import CrosstaskOptions
from reeldex.embedding.datasets.localization import AnnotatedVideo, Draws, LocalizationSet, StepSpan, Task
from reeldex.embedding.datasets.locations import open_features, require_folders, required, required_file
from reeldex.embedding.datasets.options import FeatureLocation
from reeldex.embedding.datasets.records import UnusableVideos, exclude_unusable
from reeldex.embedding.datasets.tables import read_bare_table, read_text
from reeldex.embedding.errors import DatasetError
from reeldex.embedding.features import FeatureSource

NAME = "crosstask"

_PURPOSE = "Evaluating on CrossTask"
_LINES_PER_TASK = 5
# Rates are computed from frame rates, not exact.
_RATE_TOLERANCE = 0.01


def require_test_files(options: CrosstaskOptions) -> None:
    """Raise DatasetError if a file of the test set is missing."""
    _inputs(options)


def _inputs(options: CrosstaskOptions) -> tuple[FeatureLocation, Path, Path, Path]:
    """Return where the features are, the files of tasks and videos, and the folder of annotations."""
    if options.features is None:
        raise DatasetError("CrossTask needs features: a store, or folders of .npy files.")
    if options.features.skip_damaged:
        raise DatasetError("CrossTask places steps in every second of a video. Evaluate it without skip_damaged.")
    require_folders(options.features)
    tasks = required_file(options.tasks, "tasks", _PURPOSE)
    folder = required(options.annotations, "annotations", _PURPOSE)
    if not folder.is_dir():
        raise DatasetError(f"There is no folder {folder} with annotations. Correct the path.")
    return options.features, tasks, required_file(options.videos_csv, "videos_csv", _PURPOSE), folder


def open_evaluation(options: CrosstaskOptions) -> LocalizationSet:
    """Open the test set: all annotated videos of the tasks except the validation videos.

    A video with fewer seconds than its task has steps cannot be used, since each step is placed in a second of its own.
    """
    features, tasks_file, videos_file, folder = _inputs(options)
    tasks = {task.task_id: task for task in read_tasks(tasks_file)}
    listed = _read_videos(videos_file)
    left_out: set[tuple[str, str]] = set()
    if options.val_csv is not None and not options.include_validation:
        left_out.update(_read_videos(options.val_csv))
    tested = [each for each in listed if each[0] in tasks and each not in left_out]
    videos = [
        AnnotatedVideo(task_id, video_id, _read_spans(path, tasks[task_id]))
        for task_id, video_id in tested
        if (path := folder / f"{task_id}_{video_id}.csv").is_file()
    ]
    if not videos:
        raise DatasetError(
            f"{folder} has no annotations (<task>_<video>.csv) of the {len(tested)} videos to test on. Check that the "
            "tasks, the videos and the annotations belong together."
        )
    source = open_features(features)
    unusable = _unusable(videos, tasks, source, options.max_missing_share)
    return LocalizationSet(
        NAME,
        tasks,
        [video for video in videos if video.video_id not in unusable.reasons],
        source,
        Draws(options.draws, options.train_videos, options.draw_seed),
        inclusive_end=options.inclusive_end,
        unusable=unusable,
        not_annotated=len(tested) - len(videos),
    )


def read_tasks(path: Path) -> list[Task]:
    """Read blocks of five lines separated by empty ones: id, title, address, number of steps, steps.

    Raises DatasetError that names the line of an error.
    """
    tasks: list[Task] = []
    block: list[str] = []
    for number, line in enumerate([*read_text(path).split("\n"), ""], start=1):
        if line.strip():
            block.append(line.strip())
        elif block:
            tasks.append(_task(path, number - len(block), block))
            block = []
    if not tasks:
        raise DatasetError(f"{path} names no tasks.")
    if len({task.task_id for task in tasks}) < len(tasks):
        raise DatasetError(f"{path} has several tasks with the same id.")
    return tasks


def _task(path: Path, line: int, block: Sequence[str]) -> Task:
    if len(block) != _LINES_PER_TASK:
        raise DatasetError(
            f"{path}, line {line}: a task has {_LINES_PER_TASK} lines (id, title, address, number of steps, steps) and "
            f"an empty one; this one has {len(block)}."
        )
    task_id, title, _, count, listed = block
    steps = tuple(step.strip() for step in listed.split(","))
    if count != str(len(steps)) or not all(steps):
        raise DatasetError(
            f"{path}, line {line + _LINES_PER_TASK - 1}: it has {len(steps)} steps separated by commas, and the line "
            f"above says {count:.20}."
        )
    return Task(task_id, title, steps)


def _read_videos(path: Path) -> list[tuple[str, str]]:
    rows = read_bare_table(path, {"task": 0, "video_id": 1})
    return list(dict.fromkeys((row.text("task"), row.text("video_id")) for row in rows))


def _read_spans(path: Path, task: Task) -> tuple[StepSpan, ...]:
    spans = []
    for row in read_bare_table(path, {"step": 0, "start": 1, "end": 2}):
        step = row.integer("step")
        if not 1 <= step <= len(task.steps):
            raise row.refusal("step", f"the task has the steps 1 to {len(task.steps)}, not {step}")
        spans.append(StepSpan(step - 1, *row.span("start", "end")))
    return tuple(spans)


def _unusable(
    videos: Sequence[AnnotatedVideo], tasks: dict[str, Task], source: FeatureSource, max_missing_share: float
) -> UnusableVideos:
    needed: dict[str, int] = {}
    for video in videos:
        needed[video.video_id] = max(needed.get(video.video_id, 0), len(tasks[video.task_id].steps))

    def problem(video_id: str) -> str | None:
        if (known := source.problem(video_id)) is not None:
            return known
        two_d, three_d = (source.video(stream, video_id).timing for stream in (0, 1))
        if abs(two_d.seconds_per_row - 1) > _RATE_TOLERANCE:
            raise DatasetError(
                f"CrossTask is measured with one 2-D row per second; those of {video_id!r} are "
                f"{two_d.seconds_per_row:g} seconds apart. Use features with that rate."
            )
        if not three_d.row_count:
            return "it has no 3-D rows"
        if two_d.row_count < needed[video_id]:
            return f"it has {two_d.row_count} seconds with features, and its task has {needed[video_id]} steps"
        return None

    return exclude_unusable(NAME, needed, problem, max_missing_share)
