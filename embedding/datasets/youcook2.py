"""YouCook2: steps of recipes, several of each video."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reeldex.embedding.datasets.candidates import ranked_set
from reeldex.embedding.datasets.locations import open_features, require_folders, required_file
from reeldex.embedding.datasets.options import FeatureLocation, Youcook2Options
from reeldex.embedding.datasets.protocols import claimed, require_counts
from reeldex.embedding.datasets.readers import SpanReader, VectorReader, deduplicate_ids
from reeldex.embedding.datasets.records import (
    Clip,
    ClipTrainingSet,
    EvaluationSet,
    UnusableVideos,
    exclude_unusable,
    without_clips,
)
from reeldex.embedding.datasets.rows import UsableRows, usable_rows
from reeldex.embedding.datasets.spans import AnnotatedSpan, annotated_span, span_clips
from reeldex.embedding.datasets.tables import Row
from reeldex.embedding.datasets.youcook2_annotations import annotation_rows
from reeldex.embedding.errors import DatasetError
from reeldex.embedding.unpickling import load_pickle

NAME = "youcook2"
_FIELDS = ("id", "caption", "2d", "3d")


@dataclass(frozen=True, eq=False)
class _Entry:
    """An entry of a .pkl file: the clip's name, its caption, and its 2-D and 3-D vectors."""

    name: str
    caption: str
    vectors: tuple[npt.NDArray[Any], npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class _Clips:
    """The usable rows of a file, each a clip with its caption; rows with equal `keys` describe the same clip."""

    path: Path
    clips: list[Clip]
    keys: list[Hashable]
    videos: list[str]  # the video of each clip, which the .pkl files know only from the clip's id
    reader: VectorReader | SpanReader
    unusable: UnusableVideos
    annotated: tuple[int, int]  # clips and captions in the file


def open_training(options: Youcook2Options) -> ClipTrainingSet:
    """Open the training set: each clip by itself, or with `n_pair` above 1 so many clips of a video at a time."""
    found = _open(options, "train")
    groups: Sequence[list[Clip]] = [[clip] for clip in found.clips]
    videos = found.videos
    if options.n_pair > 1:
        by_video = defaultdict(list)
        for video_id, clip in zip(found.videos, found.clips, strict=True):
            by_video[video_id].append(clip)
        groups, videos = list(by_video.values()), list(by_video)
    return ClipTrainingSet(NAME, groups, found.reader, options.n_pair, found.unusable, videos)


def annotated_videos(options: Youcook2Options) -> Iterator[str] | None:
    """Return the video of each annotated training sample; None for published .pkl files, which hold the features too.

    Raises DatasetError if a file is missing.
    """
    path = _annotations(options, "train")
    if options.features is None:
        return None
    steps = usable_rows(path, annotation_rows(path, "train"), annotated_span).rows
    videos = [step.video_id for step in steps]
    return iter(dict.fromkeys(videos) if options.n_pair > 1 else videos)


def require_test_files(options: Youcook2Options) -> None:
    """Raise DatasetError if a file of the test set is missing."""
    _annotations(options, "test")


def _annotations(options: Youcook2Options, split: str) -> Path:
    purpose = f"YouCook2's {split} split"
    pkl, table = (options.train_pkl, options.train_csv) if split == "train" else (options.test_pkl, options.test_csv)
    if options.features is None:
        return required_file(pkl, f"{split}_pkl, or features with {split}_csv", purpose)
    require_folders(options.features)
    return required_file(table or options.annotations, f"{split}_csv or annotations beside the features", purpose)


def open_evaluation(options: Youcook2Options) -> EvaluationSet:
    """Open the test set: each clip one candidate, each row a caption that has to find its clip."""
    found = _open(options, "test")
    claim = claimed(NAME, options.protocol, options.published_sha256)
    require_counts(NAME, claim.protocol, *found.annotated, found.path)
    return ranked_set(
        NAME,
        found.clips,
        found.keys,
        found.reader,
        unusable=found.unusable,
        annotated_sentences=found.annotated[1],
        claim=claim,
    )


def _open(options: Youcook2Options, split: str) -> _Clips:
    path = _annotations(options, split)
    if options.features is not None:
        rows = usable_rows(path, annotation_rows(path, split), annotated_span)
        return _from_steps(path, rows, options.features, options.max_missing_share)
    return _from_pickle(path, options.max_missing_share)


def _from_pickle(path: Path, max_missing_share: float) -> _Clips:
    held = load_pickle(path)
    if not isinstance(held, list) or not held:
        found = "an empty list" if isinstance(held, list) else f"a {type(held).__name__}"
        raise DatasetError(f"{path} must be a non-empty list of clips, found {found}.")
    entries = usable_rows(path, enumerate(held), lambda each: _entry(path, *each))
    vectors = {}
    captions = {}
    keys: dict[str, Hashable] = {}
    names = [entry.name for entry in entries.rows]
    for clip_id, entry in zip(deduplicate_ids(names), entries.rows, strict=True):
        captions[clip_id] = entry.caption
        vectors[clip_id] = entry.vectors
        # Different clips may have one name by mistake; those with the same vectors are one clip.
        keys[clip_id] = (entry.name, *(vector.tobytes() for vector in entry.vectors))
    reader = VectorReader(path, vectors)
    unusable = exclude_unusable(NAME, captions, reader.problem, max_missing_share, entries.reasons)
    clips = [Clip(clip_id, clip_id, (captions[clip_id],)) for clip_id in captions if clip_id not in unusable.reasons]
    # The published rule: a clip's id is its video's, an underscore and the clip's number.
    videos = [clip.clip_id.rpartition("_")[0] or clip.clip_id for clip in clips]
    annotated = (len(set(keys.values())), entries.total)
    return _Clips(path, clips, [keys[clip.clip_id] for clip in clips], videos, reader, unusable, annotated)


def _from_steps(
    path: Path, steps: UsableRows[AnnotatedSpan], features: FeatureLocation, max_missing_share: float
) -> _Clips:
    annotated = (len({(step.video_id, step.span) for step in steps.rows}), steps.total)
    source = open_features(features)
    unusable = exclude_unusable(
        NAME, (step.video_id for step in steps.rows), source.problem, max_missing_share, steps.reasons
    )
    clips, reader = span_clips([step for step in steps.rows if step.video_id not in unusable.reasons], source)
    clips, unusable = without_clips(NAME, clips, reader.unusable_clips(clips), unusable, max_missing_share)
    keys: list[Hashable] = [(clip.video_id, reader.spans[clip.clip_id]) for clip in clips]
    return _Clips(path, clips, keys, [clip.video_id for clip in clips], reader, unusable, annotated)


def _entry(path: Path, at: int, entry: object) -> _Entry:
    """Return an entry of a .pkl file; raises RowError without a caption, DatasetError when it is anything else."""
    fields = entry if isinstance(entry, dict) else {}
    for name in _FIELDS:
        if name not in fields:
            raise DatasetError(f"{path}: entry {at} lacks {name!r}; each needs {', '.join(_FIELDS)}.")
    row = Row(path, 0, fields, f"entry {at}")
    vectors = _vector(path, at, row, "2d"), _vector(path, at, row, "3d")
    return _Entry(str(row.values["id"]), row.text("caption"), vectors)


def _vector(path: Path, at: int, row: Row, stream: str) -> npt.NDArray[Any]:
    vector = row.values[stream]
    if not isinstance(vector, np.ndarray) or vector.ndim != 1 or vector.dtype.kind != "f":
        raise DatasetError(f"{path}: {stream!r} of entry {at} is not a vector of floats.")
    return vector
