"""Options of HowTo100M. Nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field

from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.embedding.datasets.options import TrainableOptions
from reeldex.options import Count, NotNegative, Seconds


class Howto100mOptions(TrainableOptions):
    """HowTo100M."""

    csv: Annotated[
        Path | None, Field(title="Videos", description="Column video_id; for folders of .npy files also path.")
    ] = None
    captions: Annotated[
        Path | None,
        Field(
            title="Captions",
            description="caption.pickle, or the same as JSON; or csv: video_id, start, end, text. Converted once to a "
            "cache that is mapped into memory.",
        ),
    ] = None
    captions_cache: Annotated[
        Path | None,
        Field(
            title="Captions cache",
            description="Folder for converted captions. null: ~/.cache/reeldex/captions, which XDG_CACHE_HOME moves.",
        ),
    ] = None
    max_rank: Annotated[
        Count | None,
        Field(
            title="Largest rank",
            description="Train only on videos of at most this rank among the search results of their task (column "
            "rank of csv). null: on all.",
        ),
    ] = None
    stop_words: Annotated[
        Path | None,
        Field(
            title="Stop words",
            description="Text file of words that are left out of captions; `english` stands for a built-in list. The "
            "published captions have no stop words. null leaves none out.",
        ),
    ] = None
    min_seconds: Annotated[
        Seconds,
        Field(title="Minimum window (s)", description="Windows of shorter captions grow to so many seconds."),
    ] = 5.0
    min_words: Annotated[
        NotNegative, Field(title="Minimum words", description="Windows of captions grow to so many words.")
    ] = 0
    n_pair: Annotated[
        Count, Field(title="Pairs per video", description="Captions drawn from each video of a batch.")
    ] = 1

    @classmethod
    def published(cls, folder: Path) -> Self:
        """Return the files as the published archive names them; features are in the folders beside them."""
        return cls(
            csv=folder / "HowTo100M_v1.csv",
            captions=folder / "caption.pickle",
            features=FeatureLocation(folder_2d=folder / "feature_2d", folder_3d=folder / "feature_3d"),
        )
