"""How moments are indexed and shown: the sections `index` and `page` of `pipeline.yaml`.

Defaults of `index` are those of `search.options`, which brings NumPy with it; a test says so.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field

from reeldex.flows.config.datasets import Count, NotNegative, Rate
from reeldex.flows.config.learning import Device
from reeldex.flows.config.section import Section


class MissingFiles(StrEnum):
    """What becomes of the moments of a video whose file is no longer there: they leave the index, or stay."""

    DROP = "drop"
    KEEP = "keep"


class IndexConfig(Section):
    """Which moments are indexed, and how they are found again."""

    folder: Path = Field(
        default=Path("index"), title="Folder", description="Of the index that is built, searched and shown."
    )
    captions: Path | None = Field(
        default=None,
        title="Captions",
        description="A file as HowTo100M's caption.pickle, or the same as JSON: its windows are the moments of the "
        "videos it names. Empty: windows of one length.",
    )
    window_seconds: Rate = Field(default=8.0, title="Window (s)", description="Length of a moment without captions.")
    stride_seconds: Rate = Field(default=4.0, title="Stride (s)", description="From one such moment to the next.")
    min_caption_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=5.0, title="Shortest caption (s)", description="Shorter captions grow to their neighbours."
    )
    factory: Annotated[str, Field(min_length=1)] = Field(
        default="auto",
        title="FAISS factory",
        description="auto is exact for few moments and an inverted file with quantisation for many; or a factory "
        "string of FAISS.",
    )
    exact_below: NotNegative = Field(
        default=50_000, title="Exact below", description="Up to so many moments, auto compares with every one."
    )
    rotated_dims: NotNegative = Field(
        default=256, title="Rotated to", description="Numbers that a larger embedding is rotated down to; 0: none."
    )
    candidates: Count = Field(
        default=128, title="Candidates", description="Moments of FAISS's choice that are ranked by their exact scores."
    )
    probes: NotNegative = Field(
        default=0,
        title="Probes",
        description="Lists of an inverted file that are looked at; 0: as few as find 97 % of the best in a sample.",
    )
    recall_sample: Count = Field(
        default=200, title="Sample", description="Queries by which the recall is measured at each build."
    )
    batch_size: Count = Field(default=256, title="Batch size", description="Moments embedded at once.")
    missing_files: MissingFiles = Field(
        default=MissingFiles.DROP,
        title="Missing files",
        description="Whether videos whose file is no longer there leave the index.",
    )
    space_2d: str | None = Field(
        default=None, title="2-D space", description="Empty is the store's only space of resnet152."
    )
    space_3d: str | None = Field(
        default=None, title="3-D space", description="Empty is the store's only space of resnext101_3d."
    )
    device: Device = Field(default="auto", title="Device", description="auto is CUDA if there is any, else the CPU.")


class PageConfig(Section):
    """The search page."""

    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=8765, title="Port", description="On loopback; 0 is any free one."
    )
    cache_folder: Path | None = Field(
        default=None,
        title="Cache folder",
        description="Of pictures and converted videos; empty is ~/.cache/reeldex/page, which XDG_CACHE_HOME moves.",
    )
    cache_bytes: Count = Field(
        default=2_000_000_000, title="Cache size (bytes)", description="What was used longest ago goes first."
    )
