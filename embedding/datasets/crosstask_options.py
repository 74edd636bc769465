"""Options of CrossTask. Nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field

from reeldex.embedding.datasets.options import DatasetOptions
from reeldex.options import Count, NotNegative, Seed


class CrosstaskOptions(DatasetOptions):
    """CrossTask step localization, by the files of crosstask_release.zip.

    `features` holds the whole videos under their YouTube ids, with one 2-D row per second.
    """

    tasks: Annotated[
        Path | None,
        Field(title="Tasks", description="tasks_primary.txt: id, title, address, number of steps and steps per task."),
    ] = None
    videos_csv: Annotated[
        Path | None, Field(title="Videos", description="videos.csv: task, video and address, without a header.")
    ] = None
    val_csv: Annotated[
        Path | None,
        Field(
            title="Validation videos",
            description="videos_val.csv: the same for videos that are not tested on.",
        ),
    ] = None
    include_validation: Annotated[
        bool, Field(title="Include validation videos", description="Test on the videos of val_csv too.")
    ] = False
    annotations: Annotated[
        Path | None,
        Field(
            title="Annotations",
            description="Folder of <task>_<video>.csv: step (from 1), start and end in seconds, without a header.",
        ),
    ] = None
    inclusive_end: Annotated[
        bool,
        Field(
            title="Inclusive end",
            description="Count the second at which a step ends as part of it, as one public script does. false: the "
            "seconds from floor(start) up to but not including ceil(end).",
        ),
    ] = False
    draws: Annotated[
        NotNegative,
        Field(
            title="Draws",
            description="Repetitions of the test with training videos of each task left out at random; 0: none.",
        ),
    ] = 20
    train_videos: Annotated[
        Count, Field(title="Training videos", description="Videos of each task that a draw leaves out.")
    ] = 30
    draw_seed: Annotated[Seed, Field(title="Seed of the draws", description="Another seed draws other videos.")] = 0

    @classmethod
    def published(cls, folder: Path) -> Self:
        """Return the files as the published archive names them."""
        return cls(
            tasks=folder / "tasks_primary.txt",
            videos_csv=folder / "videos.csv",
            val_csv=folder / "videos_val.csv",
            annotations=folder / "annotations",
        )
