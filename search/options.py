"""Options of the index and of the search page. Nothing else, so that they are cheap to import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from reeldex.embedding.datasets.feature_options import Space2d, Space3d
from reeldex.embedding.options import ComputeDevice
from reeldex.options import Count, NotNegative, Options, Positive

AUTO = "auto"
RECALL_TARGET = 0.97
"""The recall@10 that a build aims at when it chooses nprobe itself."""

MOMENT_FIELDS = ("window_seconds", "stride_seconds", "min_caption_seconds")
STRUCTURE_FIELDS = ("factory", "exact_below", "pca_dim")
SEARCH_FIELDS = ("rerank_candidates", "nprobe", "recall_sample")


class IndexOptions(ComputeDevice):
    """Which moments are indexed, how they are embedded, and how they are searched."""

    window_seconds: Annotated[
        Positive, Field(le=3600, title="Window (s)", description="Length of a moment without captions.")
    ] = 8.0
    stride_seconds: Annotated[
        Positive,
        Field(
            le=3600,
            title="Stride (s)",
            description="Time from the start of one such moment to the next; at most window_seconds.",
        ),
    ] = 4.0
    min_caption_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=3600,
            allow_inf_nan=False,
            title="Shortest caption (s)",
            description="Windows of shorter captions are extended to their neighbours.",
        ),
    ] = 5.0
    factory: Annotated[
        str,
        Field(
            min_length=1,
            pattern=r"\S",
            title="FAISS factory",
            description="auto compares with every moment below exact_below moments, and uses an inverted file with "
            "quantisation above. Or a factory string of FAISS, such as IVF4096,SQ8.",
        ),
    ] = AUTO
    exact_below: Annotated[
        NotNegative, Field(title="Exact below", description="Moments from which auto no longer searches exactly.")
    ] = 50_000
    pca_dim: Annotated[
        NotNegative,
        Field(
            title="PCA dimension",
            description="Dimension that larger embeddings are projected to, by a learned rotation; 0: no projection. "
            "Exact search never projects.",
        ),
    ] = 256
    rerank_candidates: Annotated[
        Count,
        Field(title="Rerank candidates", description="Moments found by FAISS that are ranked by their exact scores."),
    ] = 128
    nprobe: Annotated[
        NotNegative,
        Field(
            title="nprobe",
            description="Lists of an inverted file that are searched; 0: as few as find "
            f"{100 * RECALL_TARGET:.0f} % of the best in a sample.",
        ),
    ] = 0
    recall_sample: Annotated[
        Count, Field(title="Recall sample", description="Queries by which the recall is measured at each build.")
    ] = 200
    batch_size: Annotated[Count, Field(title="Batch size", description="Moments embedded at once.")] = 256
    missing_files: Annotated[
        Literal["drop", "keep"],
        Field(
            title="Missing files",
            description="drop: videos whose file no longer exists leave the index. keep: they stay.",
        ),
    ] = "drop"
    space_2d: Space2d = None
    space_3d: Space3d = None

    @model_validator(mode="after")
    def _windows_cover_the_video(self) -> Self:
        if self.stride_seconds > self.window_seconds:
            raise ValueError(
                f"stride_seconds ({self.stride_seconds:g}) exceeds window_seconds ({self.window_seconds:g}): parts of "
                "a video would be in no window"
            )
        return self


def different(ours: IndexOptions, theirs: IndexOptions, fields: tuple[str, ...]) -> list[str]:
    """Return the names among `fields` whose values differ."""
    return [name for name in fields if getattr(ours, name) != getattr(theirs, name)]


class PageConfig(Options):
    """The search page."""

    port: Annotated[int, Field(ge=0, le=65535, title="Port", description="Port on loopback; 0: any free one.")] = 8765
    cache_folder: Annotated[
        Path | None,
        Field(
            title="Cache folder",
            description="Folder for pictures and converted videos; null: ~/.cache/reeldex/page, which "
            "XDG_CACHE_HOME moves.",
        ),
    ] = None
    cache_bytes: Annotated[
        Count, Field(title="Cache size (bytes)", description="The least recently used files are removed first.")
    ] = 2_000_000_000
