"""EPIC-KITCHENS-100 multi-instance retrieval, by its official annotation files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reeldex.embedding.datasets.epic_options import EpicRetrievalOptions
from reeldex.embedding.datasets.locations import open_features, required
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
from reeldex.embedding.datasets.tables import Row, read_table
from reeldex.embedding.errors import DatasetError
from reeldex.embedding.multi_instance import Action, class_relevance

NAME = "epic-retrieval"
_COLUMNS = (
    "narration_id", "video_id", "start_timestamp", "stop_timestamp", "narration", "verb_class", "all_noun_classes",
)  # fmt: skip


@dataclass(frozen=True)
class NarratedAction:
    """One annotation row: the action in `video_id` from `start_seconds` to `end_seconds`."""

    narration_id: str
    video_id: str
    start_seconds: float
    end_seconds: float
    narration: str
    action: Action


def read_actions(path: Path) -> list[NarratedAction]:
    """Read an annotation file; raises DatasetError that names file, row and column of an error."""
    actions: dict[str, NarratedAction] = {}
    for row in read_table(path, _COLUMNS):
        narration_id = row.text("narration_id")
        if narration_id in actions:
            raise row.refusal("narration_id", f"{narration_id!r} occurs twice")
        actions[narration_id] = NarratedAction(
            narration_id,
            row.text("video_id"),
            *row.span("start_timestamp", "stop_timestamp"),
            row.text("narration"),
            Action(row.integer("verb_class"), row.classes("all_noun_classes")),
        )
    if not actions:
        raise DatasetError(f"{path} has no rows below its first line.")
    return list(actions.values())


def open_training(options: EpicRetrievalOptions) -> ClipTrainingSet:
    """Open the training set: each row a clip and its narration."""
    purpose = f"Training on {NAME}"
    actions = read_actions(required(options.train_csv, "train_csv", purpose))
    clips, reader, unusable = _clips(actions, options)
    return ClipTrainingSet(NAME, [[clip] for clip in clips], reader, unusable=unusable)


def open_evaluation(options: EpicRetrievalOptions) -> EvaluationSet:
    """Open the test set: all clips, the distinct sentences, and the relevance of each sentence to each clip.

    A sentence has the verb and nouns of the clip with its narration_id. Sentences to which no usable clip is
    fully relevant are left out and counted; a clip that no sentence was taken from is still a candidate.
    """
    purpose = f"Evaluating on {NAME}"
    path = required(options.test_csv, "test_csv", purpose)
    actions = read_actions(path)
    by_id = {each.narration_id: each for each in actions}
    sentences = read_table(
        required(options.test_sentence_csv, "test_sentence_csv", purpose), ["narration_id", "narration"]
    )
    claim = claimed(NAME, options.protocol, options.published_sha256)
    require_counts(NAME, claim.protocol, len(actions), len(sentences), path)
    clips, reader, unusable = _clips(actions, options)
    relevance = class_relevance(
        [by_id[clip.clip_id].action for clip in clips], [_action(row, by_id).action for row in sentences]
    ).T
    answered = np.flatnonzero((relevance == 1).any(axis=1))
    if not len(answered):
        raise DatasetError(f"{NAME}: no remaining clip is fully relevant to any sentence.")
    kept = np.ascontiguousarray(relevance[answered])
    return EvaluationSet(
        NAME,
        clips,
        reader,
        captions=tuple(sentences[at].text("narration") for at in answered),
        right_clips=_right_clips(kept, [sentences[at].text("narration_id") for at in answered], clips),
        relevance=kept,
        unusable=replace(unusable, sentences=len(sentences) - len(answered)),
        claim=claim,
    )


def _clips(
    actions: Sequence[NarratedAction], options: EpicRetrievalOptions
) -> tuple[list[Clip], SpanReader, UnusableVideos]:
    if options.features is None:
        raise DatasetError(f"{NAME} needs features: a store, or folders of .npy files.")
    source = open_features(options.features)
    unusable = exclude_unusable(NAME, (each.video_id for each in actions), source.problem, options.max_missing_share)
    kept = [each for each in actions if each.video_id not in unusable.reasons]
    reader = SpanReader(source, {each.narration_id: (each.start_seconds, each.end_seconds) for each in kept})
    clips = [Clip(each.narration_id, each.video_id, (each.narration,), each.action.verb) for each in kept]
    clips, unusable = without_clips(NAME, clips, reader.clips_beyond_end(clips), unusable, options.max_missing_share)
    return clips, reader, unusable


def _action(row: Row, by_id: dict[str, NarratedAction]) -> NarratedAction:
    narration_id = row.text("narration_id")
    if narration_id not in by_id:
        raise row.refusal("narration_id", f"the test clips do not include {narration_id!r}")
    return by_id[narration_id]


def _right_clips(
    relevance: np.ndarray[tuple[int, ...], np.dtype[np.float64]], narration_ids: Sequence[str], clips: Sequence[Clip]
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return each sentence the clip it was taken from, or, where that is left out, the first fully relevant one."""
    places = {clip.clip_id: at for at, clip in enumerate(clips)}
    first = (relevance == 1).argmax(axis=1)
    return np.array(
        [places.get(narration_id, int(first[at])) for at, narration_id in enumerate(narration_ids)], dtype=np.int64
    )
