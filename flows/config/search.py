"""The sections `index` and `page` of `pipeline.yaml`: the options of the search, and where the index is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from reeldex.search.options import IndexOptions, PageConfig

__all__ = ["IndexConfig", "PageConfig"]


class IndexConfig(IndexOptions):
    """The index of moments that `reeldex search` and the search page query."""

    folder: Annotated[Path, Field(title="Index folder", description="Folder of the index.")] = Path("index")
    captions: Annotated[
        Path | None,
        Field(
            title="Captions",
            description="A caption file in HowTo100M's format (.pickle, .json): its caption windows are the moments "
            "of the videos it names. All other videos get windows of fixed length.",
        ),
    ] = None
