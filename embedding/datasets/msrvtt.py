"""MSR-VTT: test sets with one or more sentences per video, and training on one of each video's captions."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from reeldex.embedding.datasets.candidates import ranked_set
from reeldex.embedding.datasets.locations import required, whole_videos
from reeldex.embedding.datasets.options import MsrvttOptions
from reeldex.embedding.datasets.protocols import claimed, require_counts
from reeldex.embedding.datasets.readers import deduplicate_ids
from reeldex.embedding.datasets.records import Clip, ClipTrainingSet, EvaluationSet, exclude_unusable
from reeldex.embedding.datasets.tables import read_table, read_text
from reeldex.embedding.errors import DatasetError

NAME = "msrvtt"


def open_training(options: MsrvttOptions) -> ClipTrainingSet:
    """Open the training set: each video with one of its captions, drawn again each epoch."""
    purpose = "Training on MSR-VTT"
    table = required(options.train_csv, "train_csv", purpose)
    sentences_file = required(options.train_json, "train_json", purpose)
    sentences = _sentences(sentences_file)
    reader = whole_videos(options.features, options.train_features, "train_features", purpose)
    rows = read_table(table, ["video_id"])

    def problem(video_id: str) -> str | None:
        return reader.problem(video_id) if video_id in sentences else f"{sentences_file} has no caption of it"

    unusable = exclude_unusable(NAME, (row.text("video_id") for row in rows), problem, options.max_missing_share)
    videos = [row.text("video_id") for row in rows if row.text("video_id") not in unusable.reasons]
    groups = [
        [Clip(clip_id, video_id, tuple(sentences[video_id]))]
        for clip_id, video_id in zip(deduplicate_ids(videos), videos, strict=True)
    ]
    return ClipTrainingSet(NAME, groups, reader, unusable=unusable)


def open_evaluation(options: MsrvttOptions) -> EvaluationSet:
    """Open the test set: each video one candidate, each row a sentence that has to find its video."""
    purpose = "Evaluating on MSR-VTT"
    path = required(options.test_csv, "test_csv", purpose)
    rows = read_table(path, ["video_id", "sentence"])
    claim = claimed(NAME, options.protocol, options.published_sha256)
    require_counts(NAME, claim.protocol, len({row.text("video_id") for row in rows}), len(rows), path)
    reader = whole_videos(options.features, options.test_features, "test_features", purpose)
    unusable = exclude_unusable(NAME, (row.text("video_id") for row in rows), reader.problem, options.max_missing_share)
    said = [
        Clip(row.text("video_id"), row.text("video_id"), (row.text("sentence"),))
        for row in rows
        if row.text("video_id") not in unusable.reasons
    ]
    return ranked_set(
        NAME,
        said,
        [each.video_id for each in said],
        reader,
        unusable=unusable,
        annotated_sentences=len(rows),
        claim=claim,
    )


def _sentences(path: Path) -> dict[str, list[str]]:
    try:
        held = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(held, dict) or not isinstance(held.get("sentences"), list):
        raise DatasetError(f"{path} must have a list under 'sentences'.")
    captions = defaultdict(list)
    for number, sentence in enumerate(held["sentences"]):
        try:
            video_id, caption = sentence["video_id"], sentence["caption"]
        except (TypeError, KeyError) as error:
            raise DatasetError(f"{path}: entry {number} of 'sentences' lacks 'video_id' or 'caption'.") from error
        captions[str(video_id)].append(str(caption))
    return captions
