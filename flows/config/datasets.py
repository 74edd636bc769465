"""Where the data sets lie, and how samples are made of them: the section `datasets` of `pipeline.yaml`.

The fields and defaults of a section are those of the data set's options in `embedding/datasets`; a test says so. Said
twice, because those bring NumPy and h5py with them, and a form wants titles and bounds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from reeldex.flows.config.section import Section

Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class FeaturesConfig(Section):
    """Where rows of features lie: in a store of reeldex, or in a folder of .npy files a stream."""

    store: Path | None = Field(default=None, title="Store", description="Folder of a feature store.")
    space_2d: str | None = Field(
        default=None, title="2-D space", description="Empty is the store's only space of resnet152."
    )
    space_3d: str | None = Field(
        default=None, title="3-D space", description="Empty is the store's only space of resnext101_3d."
    )
    folder_2d: Path | None = Field(default=None, title="2-D folder", description="Or: 2-D features, a .npy a video.")
    folder_3d: Path | None = Field(default=None, title="3-D folder", description="And 3-D features, a .npy a video.")
    rows_per_second: tuple[Rate, Rate] = Field(
        default=(1.0, 1.5), title="Rows a second", description="Of the two folders; a store knows its own."
    )

    @model_validator(mode="after")
    def _one_place(self) -> FeaturesConfig:
        folders = (self.folder_2d, self.folder_3d)
        if self.store is not None and any(folders):
            raise ValueError("features come from a store or from folders of .npy files, not from both")
        if self.store is None and not all(folders):
            raise ValueError("features need a store, or folder_2d and folder_3d")
        return self


class _Dataset(Section):
    folder: Path | None = Field(
        default=None,
        title="Folder",
        description="Holds the files under their published names; those named below come before it.",
    )
    features: FeaturesConfig | None = Field(
        default=None,
        title="Features",
        description="Rows of the videos. Empty takes the published vectors, where the data set has such.",
    )
    max_missing_share: Share = Field(
        default=0.1, title="Largest missing share", description="With more videos without features, nothing starts."
    )


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _TestedDataset(_Dataset):
    """A data set that has named test protocols, which a subclass lists in its `protocol`."""

    published_sha256: Sha256 | None = Field(
        default=None,
        title="SHA-256 of the published test set",
        description="As evaluate prints it. The paper's figures stand beside a test set with this hash; see "
        "docs/datasets.md.",
    )


def _protocol_field() -> Any:  # noqa: ANN401 - pydantic's own
    return Field(
        default=None,
        title="Protocol",
        description="Checks the test set's numbers of videos or clips and of sentences. Empty checks nothing.",
    )


class Howto100mConfig(_Dataset):
    """HowTo100M."""

    csv: Path | None = Field(default=None, description="Column video_id; for folders of .npy files also path.")
    captions: Path | None = Field(default=None, description="caption.pickle, or the same as JSON.")
    min_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=5.0, description="Seconds that a caption's window grows to."
    )
    min_words: NotNegative = Field(default=0, description="Words that a caption's window grows to.")
    n_pair: Count = Field(default=1, description="Captions drawn from each video of a batch.")


class MsrvttConfig(_TestedDataset):
    """MSR-VTT."""

    protocol: Literal["1k-A", "1k-B", "full"] | None = _protocol_field()
    train_csv: Path | None = Field(default=None, description="Column video_id.")
    train_json: Path | None = Field(default=None, description="All captions.")
    train_features: Path | None = Field(default=None, description="Published .pth of vectors.")
    test_csv: Path | None = Field(
        default=None, description="Columns video_id and sentence, a row per sentence; a video may have several."
    )
    test_features: Path | None = Field(default=None, description="Published .pth of vectors.")


class Youcook2Config(_TestedDataset):
    """YouCook2."""

    protocol: Literal["validation"] | None = _protocol_field()
    train_pkl: Path | None = Field(default=None, description="Published .pkl of captions and vectors.")
    test_pkl: Path | None = Field(default=None, description="Published .pkl of the validation split.")
    train_csv: Path | None = Field(default=None, description="With features: video_id, start, end, text.")
    test_csv: Path | None = Field(default=None, description="With features: video_id, start, end, text.")
    n_pair: Count = Field(default=1, description="Clips drawn from each video of a batch; 1: each clip by itself.")


class LsmdcConfig(_TestedDataset):
    """LSMDC."""

    protocol: Literal["1k"] | None = _protocol_field()
    train_csv: Path | None = Field(default=None, description="Tab-separated annotations.")
    train_features: Path | None = Field(default=None, description="Published .pth of vectors.")
    test_csv: Path | None = Field(default=None, description="Tab-separated annotations.")
    test_features: Path | None = Field(default=None, description="Published .pth of vectors.")


class EpicConfig(_Dataset):
    """EPIC-KITCHENS by label files; `folder` holds `train` and `test`, each with a label file a video."""

    train_labels: Path | None = Field(default=None, description="Folder of <video id>.txt, a label a 3-D row.")
    test_labels: Path | None = Field(default=None, description="Folder of <video id>.txt, a label a 3-D row.")
    verb_classes: Path | None = Field(default=None, description="Csv of id, key, instances; empty: a verb is a class.")
    labels: Literal["verb", "narration"] = Field(default="narration", description="Which labels are captions.")
    verb_only: bool = Field(default=False, description="Train on verb classes by the triplet loss; needs labels verb.")
    clips_per_sample: Count = Field(default=1, description="Consecutive segments joined to a sample.")
    clips_before: Annotated[int, Field(ge=0, le=1)] = Field(
        default=0, description="0: a segment and those that follow; 1: a segment and those ahead of it."
    )
    clips_filter_length: NotNegative = Field(default=0, description="Segments of at most so many rows are dropped.")

    @model_validator(mode="after")
    def _verbs_have_classes(self) -> EpicConfig:
        if self.verb_only and self.labels != "verb":
            raise ValueError("verb_only trains on classes of verbs; it needs labels: verb")
        return self


class EpicRetrievalConfig(_TestedDataset):
    """EPIC-KITCHENS-100 multi-instance retrieval."""

    protocol: Literal["test"] | None = _protocol_field()
    train_csv: Path | None = Field(default=None, description="EPIC_100_retrieval_train.csv")
    test_csv: Path | None = Field(default=None, description="EPIC_100_retrieval_test.csv")
    test_sentence_csv: Path | None = Field(default=None, description="EPIC_100_retrieval_test_sentence.csv")


class DatasetsConfig(Section):
    """Every data set that is trained or evaluated on; docs/datasets.md says what each expects."""

    howto100m: Howto100mConfig = Field(default_factory=Howto100mConfig, title="HowTo100M")
    msrvtt: MsrvttConfig = Field(default_factory=MsrvttConfig, title="MSR-VTT")
    youcook2: Youcook2Config = Field(default_factory=Youcook2Config, title="YouCook2")
    lsmdc: LsmdcConfig = Field(default_factory=LsmdcConfig, title="LSMDC")
    epic: EpicConfig = Field(default_factory=EpicConfig, title="EPIC-KITCHENS by label files")
    epic_retrieval: EpicRetrievalConfig = Field(
        default_factory=EpicRetrievalConfig, title="EPIC-KITCHENS-100 multi-instance retrieval"
    )

    def with_store(self, dataset: str, store: str) -> DatasetsConfig:
        """Return this section with a data set's features in a store, in the spaces that were named for it."""
        key = dataset.replace("-", "_")
        section = getattr(self, key)
        spaces = {} if section.features is None else section.features.model_dump(include={"space_2d", "space_3d"})
        features = FeaturesConfig(store=Path(store), **spaces)
        return self.model_copy(update={key: section.model_copy(update={"features": features})})
