"""LSMDC: short clips of films and the sentences that describe them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reeldex.embedding.datasets.candidates import ranked_set
from reeldex.embedding.datasets.locations import FeatureLocation, required, whole_videos
from reeldex.embedding.datasets.protocols import checked_claim, require_counts
from reeldex.embedding.datasets.readers import VectorReader, WholeVideoReader, deduplicate_ids
from reeldex.embedding.datasets.records import Clip, ClipTrainingSet, EvaluationSet, UnusableVideos, exclude_unusable
from reeldex.embedding.datasets.tables import Row, read_tab_table

NAME = "lsmdc"
_COLUMNS = {"clip": 0, "sentence": 5}


@dataclass(frozen=True)
class LsmdcOptions:
    """Where LSMDC lies: features of whole clips from `features`, or else from the published .pth files.

    The annotation files are tab-separated without a header: the first column is the clip, the sixth its sentence.
    `protocol` is 1k, whose counts the test set must then have; `published_sha256` is the hash of its published test
    set, which shows whether this one is it.
    """

    train_csv: Path | None = None
    train_features: Path | None = None
    test_csv: Path | None = None
    test_features: Path | None = None
    features: FeatureLocation | None = None
    max_missing_share: float = 0.1
    protocol: str | None = None
    published_sha256: str | None = None

    def __post_init__(self) -> None:
        checked_claim(NAME, self.protocol, self.published_sha256)

    @classmethod
    def published(cls, folder: Path) -> LsmdcOptions:
        """Return the files as the published archive names them."""
        return cls(
            train_csv=folder / "LSMDC16_annos_training.csv",
            train_features=folder / "LSMDC_train.pth",
            test_csv=folder / "LSMDC16_challenge_1000_publictect.csv",
            test_features=folder / "LSMDC_test.pth",
        )


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
    claim = checked_claim(NAME, options.protocol, options.published_sha256)
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
    """Return a clip for each usable row; those that name one clip have different ids and the same video."""
    unusable = exclude_unusable(NAME, (row.text("clip") for row in rows), reader.problem, max_missing_share)
    kept = [row for row in rows if row.text("clip") not in unusable.reasons]
    ids = deduplicate_ids(row.text("clip") for row in kept)
    clips = [Clip(clip_id, row.text("clip"), (row.text("sentence"),)) for clip_id, row in zip(ids, kept, strict=True)]
    return clips, unusable
