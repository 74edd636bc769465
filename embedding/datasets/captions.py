"""One's own captions of one's own videos: a table of videos, spans and texts, split by video."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reeldex.embedding.datasets.candidates import ranked_set
from reeldex.embedding.datasets.locations import open_features, require_folders, required, required_file
from reeldex.embedding.datasets.options import CaptionsOptions
from reeldex.embedding.datasets.protocols import ProtocolClaim
from reeldex.embedding.datasets.readers import SpanReader, WholeVideoReader, deduplicate_ids
from reeldex.embedding.datasets.records import (
    Clip,
    ClipTrainingSet,
    EvaluationSet,
    UnusableVideos,
    exclude_unusable,
    without_clips,
)
from reeldex.embedding.datasets.rows import usable_rows
from reeldex.embedding.datasets.spans import AnnotatedSpan, annotated_span, span_clips
from reeldex.embedding.datasets.tables import Row, read_table
from reeldex.embedding.errors import DatasetError, quoted
from reeldex.embedding.features import FeatureSource
from reeldex.quantities import counted
from reeldex.storage.video_names import name_without_suffix

log = logging.getLogger(__name__)

NAME = "captions"
_OPTION, _PURPOSE = "captions (--captions FILE)", "The data set captions"
_NO_FEATURES = f"{_PURPOSE} needs features: a store, or folders of .npy files."
Split = Literal["train", "test", "validation"]

_ALIASES = {
    "video_id": ("video", "video_path", "path", "file"),
    "start": ("start_seconds", "start_time"),
    "end": ("end_seconds", "end_time", "stop"),
    "text": ("caption", "sentence"),
}
_TIMES = ("start", "end")
_SPLITS: dict[str, Split] = {
    "train": "train", "training": "train",
    "test": "test", "testing": "test",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Caption:
    """One row: what it says of which span, and its split, if the table has such a column."""

    said: AnnotatedSpan
    split: Split | None


@dataclass(frozen=True, eq=False)
class _Table:
    path: Path
    captions: list[_Caption]
    reasons: dict[str, str]  # of the rows that cannot be used
    has_times: bool


def open_training(options: CaptionsOptions) -> ClipTrainingSet:
    """Open the training captions: each by itself, or with `n_pair` above 1 so many of a video at a time."""
    table = _read(options)
    clips, reader, unusable = _clips(table, _of_split(table, "train", options.split), options)
    groups = [[clip] for clip in clips]
    if options.n_pair > 1:
        by_video = defaultdict(list)
        for clip in clips:
            by_video[clip.video_id].append(clip)
        groups = list(by_video.values())
    return ClipTrainingSet(NAME, groups, reader, options.n_pair, unusable)


def annotated_videos(options: CaptionsOptions) -> Iterator[str]:
    """Yield the video of each annotated training sample; raises DatasetError if a file is missing."""
    require_test_files(options)
    videos = [each.video_id for each in _of_split(_read(options), "train", options.split)]
    yield from dict.fromkeys(videos) if options.n_pair > 1 else videos


def require_test_files(options: CaptionsOptions) -> None:
    """Raise DatasetError if the file, which holds all splits, or the features are missing."""
    required_file(options.captions, _OPTION, _PURPOSE)
    if options.features is None:
        raise DatasetError(_NO_FEATURES)
    require_folders(options.features)


def open_evaluation(options: CaptionsOptions) -> EvaluationSet:
    """Open the test captions: each span of a video one candidate, each row a text that has to find it."""
    table = _read(options)
    captions = _of_split(table, "test", options.split)
    clips, reader, unusable = _clips(table, captions, options)
    keys: list[Hashable] = [
        (clip.video_id, reader.spans[clip.clip_id] if isinstance(reader, SpanReader) else None) for clip in clips
    ]
    return ranked_set(
        NAME,
        clips,
        keys,
        reader,
        unusable=unusable,
        annotated_sentences=len(captions),
        claim=ProtocolClaim(),
    )


def split_by_video(video_ids: list[str], share: float) -> tuple[set[str], set[str]]:
    """Return the videos to train on and, about `share` of all, those to test on; both have at least one.

    Which they are depends on their names alone. Raises ValueError for fewer than two videos.
    """
    distinct = sorted(set(video_ids), key=_fixed_order)
    if len(distinct) < 2:
        raise ValueError(f"{counted(len(distinct), 'video')} cannot be split into training and test")
    count = min(max(1, round(share * len(distinct))), len(distinct) - 1)
    return set(distinct[count:]), set(distinct[:count])


def _fixed_order(video_id: str) -> tuple[bytes, str]:
    return hashlib.sha256(f"test {video_id}".encode("utf-8", "surrogatepass")).digest(), video_id


def _read(options: CaptionsOptions) -> _Table:
    path = required(options.captions, _OPTION, _PURPOSE)
    rows = read_table(path, ["video_id", "text"], ["start", "end", "split"], _ALIASES)
    given = [name for name in _TIMES if rows and name in rows[0].values]
    if len(given) == 1:
        raise DatasetError(f"{path} has a column {given[0]!r} alone. Give start and end, or neither for whole videos.")
    found = usable_rows(path, rows, lambda row: _caption(row, has_times=bool(given)))
    return _Table(path, found.rows, found.reasons, bool(given))


def _caption(row: Row, *, has_times: bool) -> _Caption:
    said = annotated_span(row) if has_times else AnnotatedSpan(row.text("video_id"), (0, 0), row.text("text"))
    if "split" not in row.values:
        return _Caption(said, None)
    named = row.text("split")
    if named.lower() not in _SPLITS:
        raise row.fault("split", f"{quoted(named)} is none of train, test and val")
    return _Caption(said, _SPLITS[named.lower()])


def _of_split(table: _Table, wanted: Split, share: float) -> list[AnnotatedSpan]:
    """Return the captions of a split, by the column of the table or else by video."""
    captions = table.captions
    if captions and captions[0].split is not None:
        splits: set[Split | None] = {each.split for each in captions}
        # Without a test split, the validation split is tested on.
        chosen = wanted if wanted == "train" or "test" in splits else "validation"
        found = [each.said for each in captions if each.split == chosen]
        if not found:
            raise DatasetError(f"{table.path} has no usable row whose split is {wanted}.")
        _warn_of_shared(table, {name: _names(captions, name) for name in ("train", chosen)})
        return found
    try:
        parts = split_by_video([name_without_suffix(each.said.video_id) for each in captions], share)
    except ValueError as error:
        raise DatasetError(f"{table.path}: {error}. Add videos, or a column split (train, test).") from error
    log.info("%s: %s to train on, %d to test on, by video", NAME, counted(len(parts[0]), "video"), len(parts[1]))
    kept = parts[0] if wanted == "train" else parts[1]
    return [each.said for each in captions if name_without_suffix(each.said.video_id) in kept]


def _names(captions: list[_Caption], split: str) -> set[str]:
    return {name_without_suffix(each.said.video_id) for each in captions if each.split == split}


def _warn_of_shared(table: _Table, videos: dict[str, set[str]]) -> None:
    if len(videos) == 2 and (shared := set.intersection(*videos.values())):
        log.warning(
            "%s: %s both to train and to test on, as %s: figures are too good.",
            table.path,
            counted(len(shared), "video"),
            quoted(min(shared)),
        )


def _clips(
    table: _Table, captions: list[AnnotatedSpan], options: CaptionsOptions
) -> tuple[list[Clip], SpanReader | WholeVideoReader, UnusableVideos]:
    if options.features is None:
        raise DatasetError(_NO_FEATURES)
    source: FeatureSource = open_features(options.features)
    share = options.max_missing_share
    unusable = exclude_unusable(NAME, (each.video_id for each in captions), source.problem, share, table.reasons)
    kept = [each for each in captions if each.video_id not in unusable.reasons]
    if not table.has_times:
        ids = deduplicate_ids(each.video_id for each in kept)
        whole = [Clip(clip_id, each.video_id, (each.text,)) for clip_id, each in zip(ids, kept, strict=True)]
        return whole, WholeVideoReader(source), unusable
    clips, reader = span_clips(kept, source)
    clips, unusable = without_clips(NAME, clips, reader.unusable_clips(clips), unusable, share)
    return clips, reader, unusable
