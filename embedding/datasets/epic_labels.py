"""EPIC-KITCHENS by label files: one label per 3-D row, cut into segments; a sample joins several segments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from reeldex.embedding.datasets.epic_options import EpicLabelOptions
from reeldex.embedding.datasets.locations import open_features, require_folders, required
from reeldex.embedding.datasets.options import FeatureLocation
from reeldex.embedding.datasets.readers import SegmentReader, rows_ratio
from reeldex.embedding.datasets.records import (
    Clip,
    ClipTrainingSet,
    EvaluationSet,
    UnusableVideos,
    exclude_unusable,
    without_clips,
)
from reeldex.embedding.datasets.tables import read_table, read_text
from reeldex.embedding.errors import DatasetError, FeaturesError
from reeldex.embedding.features import STREAMS, FeatureSource

NAME = "epic"
BACKGROUND = "background"
Labels = Literal["verb", "narration"]
# What EPIC-KITCHENS-55 calls the columns of its verb classes.
_CLASS_COLUMNS = {"id": ("verb_id",), "key": ("class_key",), "instances": ("verbs",)}

# Label files, like features, are made from a video's duration, but not always rounded the same way.
_MOST_ROWS_APART = 3


@dataclass(frozen=True)
class Segment:
    """Rows `first` up to but not including `stop`, all of one label."""

    first: int
    stop: int
    label: str


def cut_segments(labels: Sequence[str]) -> list[Segment]:
    """Cut one label per row into segments of equal labels."""
    segments = []
    first = 0
    for label, rows in groupby(labels):
        stop = first + sum(1 for _ in rows)
        segments.append(Segment(first, stop, label))
        first = stop
    return segments


def join_segments(segments: Sequence[Segment], options: EpicLabelOptions) -> list[tuple[Segment, ...]]:
    """Return for each segment that is long enough the segments joined with it and itself, in temporal order."""
    kept = [each for each in segments if each.stop - each.first > options.clips_filter_length]
    count = options.clips_per_sample
    if options.clips_before:
        return [tuple(kept[max(at - count + 1, 0) : at + 1]) for at in range(len(kept))]
    return [tuple(kept[at : at + count]) for at in range(len(kept))]


def open_training(options: EpicLabelOptions) -> ClipTrainingSet:
    """Open the training set: each segment, joined with its neighbours, and their labels as its caption."""
    clips, reader, unusable = _open(options, options.train_labels, "train_labels")
    return ClipTrainingSet(NAME, [[clip] for clip in clips], reader, unusable=unusable)


def annotated_videos(options: EpicLabelOptions) -> Iterator[str]:
    """Yield the video of each annotated training sample; raises DatasetError if a folder is missing."""
    for video_id, rows in _labels(options, options.train_labels, "train_labels")[1].items():
        yield from (video_id for _ in join_segments(cut_segments(rows), options))


def require_test_files(options: EpicLabelOptions) -> None:
    """Raise DatasetError if a folder of the test set is missing."""
    _labels(options, options.test_labels, "test_labels")


def _labels(options: EpicLabelOptions, given: Path | None, option: str) -> tuple[FeatureLocation, dict[str, list[str]]]:
    """Return where the features are, and the labels of each video."""
    folder = required(given, option, "EPIC-KITCHENS by label files")
    if options.features is None:
        raise DatasetError("EPIC-KITCHENS needs features: a store, or folders of .npy files.")
    require_folders(options.features)
    return options.features, _read_labels(folder / options.labels if (folder / options.labels).is_dir() else folder)


def open_evaluation(options: EpicLabelOptions) -> EvaluationSet:
    """Open the test set: each joined segment and the labels that have to find it."""
    clips, reader, unusable = _open(options, options.test_labels, "test_labels")
    return EvaluationSet(NAME, clips, reader, unusable=unusable)


def _open(
    options: EpicLabelOptions, given: Path | None, option: str
) -> tuple[list[Clip], SegmentReader, UnusableVideos]:
    features, labels = _labels(options, given, option)
    source = open_features(features)
    unusable = exclude_unusable(
        NAME, labels, lambda video: _problem(source, video, labels[video]), options.max_missing_share
    )
    usable = {video_id: each for video_id, each in labels.items() if video_id not in unusable.reasons}
    classes = _verb_classes(options.verb_classes, usable) if options.labels == "verb" else {}
    clips = []
    runs = {}
    for video_id, rows in usable.items():
        count = source.video(1, video_id).timing.row_count
        for joined in join_segments(cut_segments(rows[:count]), options):
            clip_id = f"{video_id}@rows{joined[0].first}-{joined[-1].stop}"
            own = joined[-1] if options.clips_before else joined[0]
            caption = " ".join(segment.label for segment in joined)
            clips.append(Clip(clip_id, video_id, (caption,), classes.get(own.label, -1)))
            runs[clip_id] = [(segment.first, segment.stop) for segment in joined]
    if not clips:
        raise DatasetError(
            f"{given}: no segment is longer than clips_filter_length = {options.clips_filter_length} rows. Lower it."
        )
    reader = SegmentReader(source, runs)
    clips, unusable = without_clips(NAME, clips, reader.unusable_clips(clips), unusable, options.max_missing_share)
    return clips, reader, unusable


def _read_labels(folder: Path) -> dict[str, list[str]]:
    """Map the video of each label file to its labels, one per row."""
    files = sorted(folder.glob("*.txt")) if folder.is_dir() else []
    if not files:
        raise DatasetError(f"{folder} holds no label files (<video id>.txt). Correct the path.")
    found = {}
    for path in files:
        rows = [line.strip() for line in read_text(path).rstrip("\n").split("\n")]
        if "" in rows and rows != [""]:
            raise DatasetError(
                f"{path}, line {rows.index('') + 1}: it is empty; each line is the label of one 3-D row."
            )
        found[path.name.removesuffix(".txt")] = [label for label in rows if label]
    return found


def _problem(source: FeatureSource, video_id: str, labels: Sequence[str]) -> str | None:
    """Return why a video with these labels cannot be used."""
    if problem := source.problem(video_id):
        return problem
    if not labels:
        return "its label file is empty"
    try:
        two_d, three_d = (source.video(stream, video_id).timing for stream in range(len(STREAMS)))
    except FeaturesError as error:
        return str(error)
    if abs(len(labels) - three_d.row_count) > _MOST_ROWS_APART:
        return f"it has {len(labels)} labels and {three_d.row_count} rows of 3-D features; each label needs one"
    if three_d.row_count * rows_ratio(three_d, two_d) > two_d.row_count + _MOST_ROWS_APART:
        return (
            f"its {two_d.row_count} rows of 2-D features end before its {three_d.row_count} rows of 3-D features; "
            "check rows_per_second"
        )
    return None


def _verb_classes(table: Path | None, labels: dict[str, list[str]]) -> dict[str, int]:
    """Map each label to its class; the background, and verbs of no class, have an additional last class."""
    seen = sorted({label for rows in labels.values() for label in rows} - {BACKGROUND})
    if table is None:
        return {**{label: number for number, label in enumerate(seen)}, BACKGROUND: len(seen)}
    known: dict[str, int] = {}
    for row in read_table(table, ["id", "key"], ["instances"], _CLASS_COLUMNS):
        instances = str(row.values.get("instances") or "").strip("[] ").split(",")
        for verb in (row.text("key"), *(name.strip(" '\"") for name in instances)):
            known.setdefault(verb, row.integer("id"))
    behind = max(known.values(), default=-1) + 1
    return {label: known.get(label, behind) for label in (*seen, BACKGROUND)}
