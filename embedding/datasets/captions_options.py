"""Options of captions of one's own. Nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field

from reeldex.embedding.datasets.options import TrainableOptions
from reeldex.options import Count


class CaptionsOptions(TrainableOptions):
    """Captions of one's own for videos of one's own."""

    captions: Annotated[
        Path | None,
        Field(
            title="Captions",
            description="Table with the columns video, start, end (seconds, mm:ss or hh:mm:ss) and text; without start "
            "and end, texts describe whole videos. An optional column split is train, val or test.",
        ),
    ] = None
    split: Annotated[
        float,
        Field(
            gt=0,
            lt=1,
            title="Test share",
            description="Without a column split: share of the videos to test on, always the same ones.",
        ),
    ] = 0.1
    n_pair: Annotated[
        Count,
        Field(
            title="Captions per video",
            description="Captions drawn from each video of a batch; 1 takes each caption by itself.",
        ),
    ] = 1

    @classmethod
    def published(cls, folder: Path) -> Self:
        """Return the file of a folder: captions.csv."""
        return cls(captions=folder / "captions.csv")
