"""YouCook2: steps of recipes, several of each video."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reeldex.embedding.datasets.candidates import ranked_set
from reeldex.embedding.datasets.locations import open_features, required
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
from reeldex.embedding.datasets.tables import read_table
from reeldex.embedding.errors import DatasetError
from reeldex.embedding.unpickling import load_pickle

NAME = "youcook2"
_FIELDS = ("id", "caption", "2d", "3d")


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
    found = _open(options, options.train_pkl, options.train_csv, "train")
    groups: Sequence[list[Clip]] = [[clip] for clip in found.clips]
    videos = found.videos
    if options.n_pair > 1:
        by_video = defaultdict(list)
        for video_id, clip in zip(found.videos, found.clips, strict=True):
            by_video[video_id].append(clip)
        groups, videos = list(by_video.values()), list(by_video)
    return ClipTrainingSet(NAME, groups, found.reader, options.n_pair, found.unusable, videos)


def open_evaluation(options: Youcook2Options) -> EvaluationSet:
    """Open the test set: each clip one candidate, each row a caption that has to find its clip."""
    found = _open(options, options.test_pkl, options.test_csv, "test")
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


def _open(options: Youcook2Options, pkl: Path | None, table: Path | None, split: str) -> _Clips:
    purpose = f"YouCook2's {split} split"
    if options.features is not None:
        return _from_table(
            required(table, f"{split}_csv beside the features", purpose), options.features, options.max_missing_share
        )
    path = required(pkl, f"{split}_pkl, or features with {split}_csv", purpose)
    return _from_pickle(path, options.max_missing_share)


def _from_pickle(path: Path, max_missing_share: float) -> _Clips:
    held = load_pickle(path)
    if not isinstance(held, list) or not held:
        found = "an empty list" if isinstance(held, list) else f"a {type(held).__name__}"
        raise DatasetError(f"{path} must be a non-empty list of clips, found {found}.")
    vectors = {}
    captions = {}
    keys: dict[str, Hashable] = {}
    names = [str(_field(path, at, entry, "id")) for at, entry in enumerate(held)]
    ids = deduplicate_ids(names)
    for at, (clip_id, entry) in enumerate(zip(ids, held, strict=True)):
        captions[clip_id] = str(_field(path, at, entry, "caption"))
        vectors[clip_id] = (_vector(path, at, entry, "2d"), _vector(path, at, entry, "3d"))
        # Different clips may have one name by mistake; those with the same vectors are one clip.
        keys[clip_id] = (names[at], *(vector.tobytes() for vector in vectors[clip_id]))
    reader = VectorReader(path, vectors)
    unusable = exclude_unusable(NAME, captions, reader.problem, max_missing_share)
    clips = [Clip(clip_id, clip_id, (captions[clip_id],)) for clip_id in captions if clip_id not in unusable.reasons]
    # The published rule: a clip's id is its video's, an underscore and the clip's number.
    videos = [clip.clip_id.rpartition("_")[0] or clip.clip_id for clip in clips]
    annotated = (len(set(keys.values())), len(held))
    return _Clips(path, clips, [keys[clip.clip_id] for clip in clips], videos, reader, unusable, annotated)


def _from_table(path: Path, features: FeatureLocation, max_missing_share: float) -> _Clips:
    rows = read_table(path, ["video_id", "start", "end", "text"])
    annotated = (len({(row.text("video_id"), row.span("start", "end")) for row in rows}), len(rows))
    source = open_features(features)
    unusable = exclude_unusable(NAME, (row.text("video_id") for row in rows), source.problem, max_missing_share)
    kept = [row for row in rows if row.text("video_id") not in unusable.reasons]
    spans = [row.span("start", "end") for row in kept]
    ids = deduplicate_ids(
        f"{row.text('video_id')}@{start:g}-{end:g}" for row, (start, end) in zip(kept, spans, strict=True)
    )
    clips = [Clip(clip_id, row.text("video_id"), (row.text("text"),)) for clip_id, row in zip(ids, kept, strict=True)]
    reader = SpanReader(source, dict(zip(ids, spans, strict=True)))
    clips, unusable = without_clips(NAME, clips, reader.clips_beyond_end(clips), unusable, max_missing_share)
    keys: list[Hashable] = [(clip.video_id, reader.spans[clip.clip_id]) for clip in clips]
    return _Clips(path, clips, keys, [clip.video_id for clip in clips], reader, unusable, annotated)


def _field(path: Path, at: int, entry: object, name: str) -> object:
    if not isinstance(entry, dict) or name not in entry:
        raise DatasetError(f"{path}: entry {at} lacks {name!r}; each needs {', '.join(_FIELDS)}.")
    value: object = entry[name]
    return value


def _vector(path: Path, at: int, entry: object, stream: str) -> npt.NDArray[Any]:
    vector = _field(path, at, entry, stream)
    if not isinstance(vector, np.ndarray) or vector.ndim != 1 or vector.dtype.kind != "f":
        raise DatasetError(f"{path}: {stream!r} of entry {at} is not a vector of floats.")
    return vector
