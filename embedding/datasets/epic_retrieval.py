"""EPIC-KITCHENS-100 multi-instance retrieval, by its official annotation files or those of EPIC-KITCHENS-55."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from reeldex.embedding.datasets.epic_options import EpicRetrievalOptions
from reeldex.embedding.datasets.locations import open_features, require_folders, required, required_file
from reeldex.embedding.datasets.options import FeatureLocation
from reeldex.embedding.datasets.protocols import claimed, require_counts
from reeldex.embedding.datasets.readers import SpanReader
from reeldex.embedding.datasets.records import (
    Clip,
    ClipTrainingSet,
    EvaluationSet,
    UnusableVideos,
    exclude_unusable,
    without_clips,
)
from reeldex.embedding.datasets.rows import UsableRows, usable_rows
from reeldex.embedding.datasets.tables import Row, read_table
from reeldex.embedding.errors import DatasetError, quoted, require_file
from reeldex.embedding.multi_instance import Action, class_relevance

NAME = "epic-retrieval"
_COLUMNS = (
    "narration_id", "video_id", "start_timestamp", "stop_timestamp", "narration", "verb_class", "all_noun_classes",
)  # fmt: skip
# EPIC-KITCHENS-55 calls a narration's id uid.
_ALIASES = {"narration_id": ("uid",)}
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class NarratedAction:
    """One annotation row: the action in `video_id` from `start_seconds` to `end_seconds`."""

    narration_id: str
    video_id: str
    start_seconds: float
    end_seconds: float
    narration: str
    action: Action


@dataclass(frozen=True)
class Annotations:
    """The usable rows of an annotation file, and the ids and reasons of those without a narration or a valid time."""

    actions: list[NarratedAction]
    reasons: dict[str, str] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()


def read_actions(path: Path) -> list[NarratedAction]:
    """Return the usable rows of an annotation file; raises DatasetError as `read_annotations` does."""
    return read_annotations(path).actions


def read_annotations(path: Path) -> Annotations:
    """Read an annotation file of EPIC-KITCHENS-100 or -55.

    Raises DatasetError that names file, row and column of an error.
    """
    rows = read_table(path, _COLUMNS, aliases=_ALIASES)
    if not rows:
        raise DatasetError(f"{path} has no rows below its first line.")
    seen: set[str] = set()

    def parse(row: Row) -> NarratedAction:
        narration_id = row.text("narration_id")
        if narration_id in seen:
            raise row.refusal("narration_id", f"{quoted(narration_id)} occurs twice")
        seen.add(narration_id)
        return NarratedAction(
            narration_id,
            row.text("video_id"),
            *row.span("start_timestamp", "stop_timestamp"),
            row.text("narration"),
            Action(row.integer("verb_class"), row.classes("all_noun_classes")),
        )

    found = usable_rows(path, rows, parse)
    return Annotations(found.rows, found.reasons, frozenset(seen - {each.narration_id for each in found.rows}))


def open_training(options: EpicRetrievalOptions) -> ClipTrainingSet:
    """Open the training set: each row a clip and its narration."""
    purpose = f"Training on {NAME}"
    annotations = read_annotations(required(options.train_csv, "train_csv", purpose))
    clips, reader, unusable = _clips(annotations, options)
    return ClipTrainingSet(NAME, [[clip] for clip in clips], reader, unusable=unusable)


def annotated_videos(options: EpicRetrievalOptions) -> Iterator[str]:
    """Yield the video of each annotated training sample; raises DatasetError if a file is missing."""
    path = required_file(options.train_csv, "train_csv", f"Training on {NAME}")
    require_folders(_features(options))
    yield from (each.video_id for each in read_annotations(path).actions)


def require_test_files(options: EpicRetrievalOptions) -> None:
    """Raise DatasetError if a file of the test set is missing."""
    required_file(options.test_csv, "test_csv", f"Evaluating on {NAME}")
    if options.test_sentence_csv is not None:
        require_file(options.test_sentence_csv)
    require_folders(_features(options))


def _features(options: EpicRetrievalOptions) -> FeatureLocation:
    if options.features is None:
        raise DatasetError(f"{NAME} needs features: a store, or folders of .npy files.")
    return options.features


def open_evaluation(options: EpicRetrievalOptions) -> EvaluationSet:
    """Open the test set: all clips, the distinct sentences, and the relevance of each sentence to each clip.

    A sentence has the verb and nouns of the clip with its narration_id. Without a file of sentences, they are the
    distinct narrations, each of the first clip that has it. Sentences to which no usable clip is
    fully relevant are left out and counted; a clip that no sentence was taken from is still a candidate.
    """
    purpose = f"Evaluating on {NAME}"
    path = required(options.test_csv, "test_csv", purpose)
    annotations = read_annotations(path)
    sentences = _sentences(options.test_sentence_csv, annotations)
    claim = claimed(NAME, options.protocol, options.published_sha256)
    require_counts(NAME, claim.protocol, len(annotations.actions), sentences.total, path)
    clips, reader, unusable = _clips(annotations, options, sentences.reasons)
    by_id = {each.narration_id: each for each in annotations.actions}
    said = sentences.rows
    relevance = class_relevance([by_id[clip.clip_id].action for clip in clips], [each.action for each in said]).T
    answered = np.flatnonzero((relevance == 1).any(axis=1))
    if not len(answered):
        raise DatasetError(f"{NAME}: no remaining clip is fully relevant to any sentence.")
    kept = np.ascontiguousarray(relevance[answered])
    return EvaluationSet(
        NAME,
        clips,
        reader,
        captions=tuple(said[at].narration for at in answered),
        right_clips=_right_clips(kept, [said[at].narration_id for at in answered], clips),
        relevance=kept,
        unusable=replace(unusable, sentences=sentences.total - len(answered)),
        claim=claim,
    )


def _sentences(path: Path | None, annotations: Annotations) -> UsableRows[NarratedAction]:
    """Return the sentences of a file, each with the action of the clip with its narration_id; or all distinct ones."""
    if path is None:
        first = {each.narration: each for each in reversed(annotations.actions)}
        return UsableRows([each for each in annotations.actions if first[each.narration] is each], {})
    by_id = {each.narration_id: each for each in annotations.actions}

    def parse(row: Row) -> NarratedAction:
        narration_id = row.text("narration_id")
        if narration_id in annotations.left_out:
            raise row.fault("narration_id", f"the clip {quoted(narration_id)} was left out")
        if narration_id not in by_id:
            raise row.refusal("narration_id", f"the test clips do not include {quoted(narration_id)}")
        return replace(by_id[narration_id], narration=row.text("narration"))

    return usable_rows(path, read_table(path, ["narration_id", "narration"]), parse)


def _clips(
    annotations: Annotations, options: EpicRetrievalOptions, more_rows: Mapping[str, str] = _NONE
) -> tuple[list[Clip], SpanReader, UnusableVideos]:
    source = open_features(_features(options))
    actions = annotations.actions
    unusable = exclude_unusable(
        NAME,
        (each.video_id for each in actions),
        source.problem,
        options.max_missing_share,
        {**annotations.reasons, **more_rows},
    )
    kept = [each for each in actions if each.video_id not in unusable.reasons]
    reader = SpanReader(source, {each.narration_id: (each.start_seconds, each.end_seconds) for each in kept})
    clips = [Clip(each.narration_id, each.video_id, (each.narration,), each.action.verb) for each in kept]
    clips, unusable = without_clips(NAME, clips, reader.unusable_clips(clips), unusable, options.max_missing_share)
    return clips, reader, unusable


def _right_clips(
    relevance: np.ndarray[tuple[int, ...], np.dtype[np.float64]], narration_ids: Sequence[str], clips: Sequence[Clip]
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return each sentence the clip it was taken from, or, where that is left out, the first fully relevant one."""
    places = {clip.clip_id: at for at, clip in enumerate(clips)}
    first = (relevance == 1).argmax(axis=1)
    return np.array(
        [places.get(narration_id, int(first[at])) for at, narration_id in enumerate(narration_ids)], dtype=np.int64
    )
