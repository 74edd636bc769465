"""LSMDC: short clips of films and the sentences that describe them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reeldex.embedding.datasets.candidates import ranked_set
from reeldex.embedding.datasets.locations import require_vectors, required, required_file, whole_videos
from reeldex.embedding.datasets.options import LsmdcOptions
from reeldex.embedding.datasets.protocols import claimed, require_counts
from reeldex.embedding.datasets.readers import VectorReader, WholeVideoReader, deduplicate_ids
from reeldex.embedding.datasets.records import Clip, ClipTrainingSet, EvaluationSet, UnusableVideos, exclude_unusable
from reeldex.embedding.datasets.rows import UsableRows, usable_rows
from reeldex.embedding.datasets.tables import read_tab_table

NAME = "lsmdc"
_COLUMNS = {"clip": 0, "sentence": 5}


def open_training(options: LsmdcOptions) -> ClipTrainingSet:
    """Open the training set: each row a clip and its sentence."""
    purpose = "Training on LSMDC"
    reader = whole_videos(options.features, options.train_features, "train_features", purpose)
    rows = _rows(required(options.train_csv, "train_csv", purpose))
    clips, unusable = _clips(rows, reader, options.max_missing_share)
    return ClipTrainingSet(NAME, [[clip] for clip in clips], reader, unusable=unusable)


def annotated_videos(options: LsmdcOptions) -> Iterator[str]:
    """Yield the video of each annotated training sample; raises DatasetError if a file is missing."""
    purpose = "Training on LSMDC"
    path = required_file(options.train_csv, "train_csv", purpose)
    require_vectors(options.features, options.train_features, "train_features", purpose)
    yield from (clip for clip, _ in _rows(path).rows)


def require_test_files(options: LsmdcOptions) -> None:
    """Raise DatasetError if a file of the test set is missing."""
    purpose = "Evaluating on LSMDC"
    required_file(options.test_csv, "test_csv", purpose)
    require_vectors(options.features, options.test_features, "test_features", purpose)


def open_evaluation(options: LsmdcOptions) -> EvaluationSet:
    """Open the test set: each clip one candidate, each row a sentence that has to find its clip."""
    purpose = "Evaluating on LSMDC"
    reader = whole_videos(options.features, options.test_features, "test_features", purpose)
    path = required(options.test_csv, "test_csv", purpose)
    rows = _rows(path)
    claim = claimed(NAME, options.protocol, options.published_sha256)
    require_counts(NAME, claim.protocol, len({clip for clip, _ in rows.rows}), rows.total, path)
    clips, unusable = _clips(rows, reader, options.max_missing_share)
    return ranked_set(
        NAME,
        clips,
        [clip.video_id for clip in clips],
        reader,
        unusable=unusable,
        annotated_sentences=rows.total,
        claim=claim,
    )


def _rows(path: Path) -> UsableRows[tuple[str, str]]:
    """Return (clip, sentence) of each row that has both."""
    return usable_rows(path, read_tab_table(path, _COLUMNS), lambda row: (row.text("clip"), row.text("sentence")))


def _clips(
    rows: UsableRows[tuple[str, str]], reader: VectorReader | WholeVideoReader, max_missing_share: float
) -> tuple[list[Clip], UnusableVideos]:
    """Return a clip for each usable row; rows of one clip have different ids and the same video."""
    unusable = exclude_unusable(NAME, (clip for clip, _ in rows.rows), reader.problem, max_missing_share, rows.reasons)
    kept = [each for each in rows.rows if each[0] not in unusable.reasons]
    ids = deduplicate_ids(clip for clip, _ in kept)
    clips = [Clip(clip_id, clip, (sentence,)) for clip_id, (clip, sentence) in zip(ids, kept, strict=True)]
    return clips, unusable
