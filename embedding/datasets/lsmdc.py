"""LSMDC: short clips of films, each with one sentence."""

from dataclasses import dataclass
from pathlib import Path

from embedding.datasets.locations import FeatureLocation, required, whole_videos
from embedding.datasets.readers import VectorReader, WholeVideoReader, distinct_ids
from embedding.datasets.records import Clip, ClipTrainingSet, EvaluationSet, UnusableVideos, sort_out
from embedding.datasets.tables import read_tab_table

NAME = "lsmdc"
_COLUMNS = {"clip": 0, "sentence": 5}


@dataclass(frozen=True)
class LsmdcOptions:
    """Where LSMDC lies: features of whole clips from `features`, or else from the published .pth files.

    The annotation files are tab-separated without a header: the first column is the clip, the sixth its sentence.
    """

    train_csv: Path | None = None
    train_features: Path | None = None
    test_csv: Path | None = None
    test_features: Path | None = None
    features: FeatureLocation | None = None
    max_missing_share: float = 0.1

    @classmethod
    def published(cls, folder: Path) -> "LsmdcOptions":
        """Give the files as the published archive names them."""
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
    clips, unusable = _clips(required(options.train_csv, "train_csv", purpose), reader, options.max_missing_share)
    return ClipTrainingSet(NAME, [[clip] for clip in clips], reader, unusable=unusable)


def open_evaluation(options: LsmdcOptions) -> EvaluationSet:
    """Open the test set: each row a clip and the sentence that has to find it."""
    purpose = "Evaluating on LSMDC"
    reader = whole_videos(options.features, options.test_features, "test_features", purpose)
    clips, unusable = _clips(required(options.test_csv, "test_csv", purpose), reader, options.max_missing_share)
    return EvaluationSet(NAME, clips, reader, unusable=unusable)


def _clips(
    path: Path, reader: VectorReader | WholeVideoReader, max_missing_share: float
) -> tuple[list[Clip], UnusableVideos]:
    rows = read_tab_table(path, _COLUMNS)
    unusable = sort_out(NAME, (row.text("clip") for row in rows), reader.problem, max_missing_share)
    kept = [row for row in rows if row.text("clip") not in unusable.reasons]
    ids = distinct_ids(row.text("clip") for row in kept)
    clips = [Clip(clip_id, row.text("clip"), (row.text("sentence"),)) for clip_id, row in zip(ids, kept, strict=True)]
    return clips, unusable
