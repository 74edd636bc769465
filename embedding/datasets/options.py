"""Options of the data sets: where their files are stored, and how samples are made of them. Nothing else.

Those of HowTo100M, EPIC-KITCHENS, CrossTask and one's own captions are in `howto100m_options`, `epic_options`,
`crosstask_options` and `captions_options`.
Every option may be left out; what is needed for training or evaluating is checked when a split is opened.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.options import Count, Options, Share


class TrainingDataset(StrEnum):
    """The data sets that can be trained on."""

    HOWTO100M = "howto100m"
    MSRVTT = "msrvtt"
    YOUCOOK2 = "youcook2"
    LSMDC = "lsmdc"
    EPIC = "epic"
    EPIC_RETRIEVAL = "epic-retrieval"
    CAPTIONS = "captions"


class TestSet(StrEnum):
    """The data sets that can be evaluated on."""

    __test__ = False  # not a pytest class, despite its name

    MSRVTT = "msrvtt"
    YOUCOOK2 = "youcook2"
    LSMDC = "lsmdc"
    EPIC = "epic"
    EPIC_RETRIEVAL = "epic-retrieval"
    CAPTIONS = "captions"
    CROSSTASK = "crosstask"


class DatasetOptions(Options):
    """What the options of every data set have."""

    folder: Annotated[
        Path | None,
        Field(
            title="Folder",
            description="Folder with the files under their published names; a file named by itself takes precedence. "
            "`published` stands for the published evaluation data, which are fetched once.",
        ),
    ] = None
    features: Annotated[
        FeatureLocation | None,
        Field(
            title="Features",
            description="Rows of the videos: {store: /data/features}, with space_2d and space_3d if the store has "
            "several of a kind, and skip_damaged; or {folder_2d: ..., folder_3d: ..., rows_per_second: [1.0, 1.5]}. "
            "null takes the published vectors, where the data set has such.",
        ),
    ] = None
    max_missing_share: Annotated[
        Share,
        Field(
            title="Largest missing share",
            description="Share of videos that may lack features; with more, nothing starts.",
        ),
    ] = 0.1


class TrainableOptions(DatasetOptions):
    """What the options of a data set with a training split have besides."""

    exclude: Annotated[
        Path | None,
        Field(
            title="Excluded videos",
            description="Videos left out of training, such as those of a test set: csv with a column video_id, or one "
            "id per line.",
        ),
    ] = None
    train_share: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            title="Share of the videos",
            description="Share of the videos to train on, always the same ones; a smaller share is part of a larger.",
        ),
    ] = 1.0


_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class TestedOptions(TrainableOptions):
    """What the options of a data set with a published test set have besides."""

    published_sha256: Annotated[
        _Sha256 | None,
        Field(
            title="SHA-256 of the published test set",
            description="As `reeldex evaluate` prints it of the published files. The paper's figures are shown beside "
            "a test set with this hash only.",
        ),
    ] = None


PROTOCOL_DESCRIPTION = "Published protocol whose counts the test set must have: {}. null checks nothing."


class MsrvttOptions(TestedOptions):
    """MSR-VTT: features of whole videos, or else the published .pth files."""

    protocol: Annotated[
        Literal["1k-A", "1k-B", "full"] | None,
        Field(
            title="Protocol",
            description=PROTOCOL_DESCRIPTION.format(
                "1k-A and 1k-B (1000 videos, 1000 sentences) or full (2990 videos, 59800 sentences)"
            ),
        ),
    ] = None
    train_csv: Annotated[
        Path | None,
        Field(title="Training videos", description="Column video_id; or one id per line without a header."),
    ] = None
    train_json: Annotated[
        Path | None,
        Field(
            title="Training captions",
            description="`sentences`, each with video_id and caption; or `annotations` of MSR_VTT.json.",
        ),
    ] = None
    train_features: Annotated[
        Path | None, Field(title="Training vectors", description="Published .pth of vectors.")
    ] = None
    test_csv: Annotated[
        Path | None,
        Field(
            title="Test sentences",
            description="Columns video_id and sentence, one row per sentence; a video may have several. Or one id per "
            "line without a header, with the sentences of test_json.",
        ),
    ] = None
    test_json: Annotated[
        Path | None,
        Field(
            title="Test captions",
            description="For a test_csv of ids alone: captions in the form of train_json; null: train_json.",
        ),
    ] = None
    test_features: Annotated[Path | None, Field(title="Test vectors", description="Published .pth of vectors.")] = None

    @model_validator(mode="after")
    def _hash_of_a_protocol(self) -> Self:
        if self.published_sha256 is not None and self.protocol is None:
            raise ValueError("published_sha256 needs protocol, which is one of 1k-A, 1k-B, full")
        return self

    @classmethod
    def published(cls, folder: Path) -> Self:
        """Return the files as the published archive names them."""
        return cls(
            train_csv=folder / "MSRVTT_train.csv",
            train_json=folder / "MSRVTT_data.json",
            train_features=folder / "MSRVTT_train.pth",
            test_csv=folder / "MSRVTT_JSFUSION_test.csv",
            test_features=folder / "MSRVTT_JSFUSION_test.pth",
        )


class Youcook2Options(TestedOptions):
    """YouCook2: the published .pkl files, or csv files beside features of the whole videos.

    The test set is the data set's validation split: its test split was never published with annotations.
    """

    protocol: Annotated[
        Literal["validation"] | None,
        Field(title="Protocol", description=PROTOCOL_DESCRIPTION.format("validation (3350 clips)")),
    ] = None
    train_pkl: Annotated[
        Path | None,
        Field(
            title="Training clips",
            description='Published .pkl: a list of {"id": "<video>_<clip>", "caption", "2d", "3d"}.',
        ),
    ] = None
    test_pkl: Annotated[
        Path | None, Field(title="Test clips", description="Published .pkl of the validation split.")
    ] = None
    annotations: Annotated[
        Path | None,
        Field(
            title="Annotations",
            description="With features: the official JSON (youcookii_annotations_trainval.json), which has both "
            "splits; train_csv and test_csv take precedence.",
        ),
    ] = None
    train_csv: Annotated[
        Path | None,
        Field(title="Training spans", description="With features: columns video_id, start, end (seconds), text."),
    ] = None
    test_csv: Annotated[
        Path | None,
        Field(title="Test spans", description="With features: columns video_id, start, end (seconds), text."),
    ] = None
    n_pair: Annotated[
        Count,
        Field(
            title="Clips per video",
            description="Clips drawn from each video of a batch; 1 takes each clip by itself.",
        ),
    ] = 1

    @classmethod
    def published(cls, folder: Path) -> Self:
        """Return the files as the published archive names them."""
        return cls(
            train_pkl=folder / "youcook_train.pkl",
            test_pkl=folder / "youcook_val.pkl",
            annotations=folder / "youcookii_annotations_trainval.json",
        )


class LsmdcOptions(TestedOptions):
    """LSMDC: features of whole clips, or else the published .pth files."""

    protocol: Annotated[
        Literal["1k"] | None, Field(title="Protocol", description=PROTOCOL_DESCRIPTION.format("1k (1000 clips)"))
    ] = None
    train_csv: Annotated[
        Path | None,
        Field(
            title="Training annotations",
            description="Tab-separated, no header: the first column is the clip, the sixth its sentence.",
        ),
    ] = None
    train_features: Annotated[
        Path | None, Field(title="Training vectors", description="Published .pth of vectors.")
    ] = None
    test_csv: Annotated[Path | None, Field(title="Test annotations", description="The same for the test clips.")] = None
    test_features: Annotated[Path | None, Field(title="Test vectors", description="Published .pth of vectors.")] = None

    @classmethod
    def published(cls, folder: Path) -> Self:
        """Return the files as the published archive names them."""
        return cls(
            train_csv=folder / "LSMDC16_annos_training.csv",
            train_features=folder / "LSMDC_train.pth",
            test_csv=folder / "LSMDC16_challenge_1000_publictect.csv",
            test_features=folder / "LSMDC_test.pth",
        )
