"""LSMDC: short clips of films and the sentences that describe them."""

from __future__ import annotations

from collections.abc import Sequence

from reeldex.embedding.datasets.candidates import ranked_set
from reeldex.embedding.datasets.locations import required, whole_videos
from reeldex.embedding.datasets.options import LsmdcOptions
from reeldex.embedding.datasets.protocols import claimed, require_counts
from reeldex.embedding.datasets.readers import VectorReader, WholeVideoReader, deduplicate_ids
from reeldex.embedding.datasets.records import Clip, ClipTrainingSet, EvaluationSet, UnusableVideos, exclude_unusable
from reeldex.embedding.datasets.tables import Row, read_tab_table

NAME = "lsmdc"
_COLUMNS = {"clip": 0, "sentence": 5}


def open_training(options: LsmdcOptions) -> ClipTrainingSet:
    """Open the training set: each row a clip and its sentence."""
    purpose = "Training on LSMDC"
    reader = whole_videos(options.features, options.train_features, "train_features", purpose)
    rows = read_tab_table(required(options.train_csv, "train_csv", purpose), _COLUMNS)
    clips, unusable = _clips(rows, reader, options.max_missing_share)
    return ClipTrainingSet(NAME, [[clip] for clip in clips], reader, unusable=unusable)


def open_evaluation(options: LsmdcOptions) -> EvaluationSet:
    """Open the test set: each clip one candidate, each row a sentence that has to find its clip."""
    purpose = "Evaluating on LSMDC"
    reader = whole_videos(options.features, options.test_features, "test_features", purpose)
    path = required(options.test_csv, "test_csv", purpose)
    rows = read_tab_table(path, _COLUMNS)
    claim = claimed(NAME, options.protocol, options.published_sha256)
    require_counts(NAME, claim.protocol, len({row.text("clip") for row in rows}), len(rows), path)
    clips, unusable = _clips(rows, reader, options.max_missing_share)
    return ranked_set(
        NAME,
        clips,
        [clip.video_id for clip in clips],
        reader,
        unusable=unusable,
        annotated_sentences=len(rows),
        claim=claim,
    )


def _clips(
    rows: Sequence[Row], reader: VectorReader | WholeVideoReader, max_missing_share: float
) -> tuple[list[Clip], UnusableVideos]:
    """Return a clip for each usable row; rows of one clip have different ids and the same video."""
    unusable = exclude_unusable(NAME, (row.text("clip") for row in rows), reader.problem, max_missing_share)
    kept = [row for row in rows if row.text("clip") not in unusable.reasons]
    ids = deduplicate_ids(row.text("clip") for row in kept)
    clips = [Clip(clip_id, row.text("clip"), (row.text("sentence"),)) for clip_id, row in zip(ids, kept, strict=True)]
    return clips, unusable
