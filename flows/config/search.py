"""The sections `index` and `page` of `pipeline.yaml`: the options of the search, and where the index is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from reeldex.search.options import IndexOptions, PageConfig

__all__ = ["IndexConfig", "PageConfig"]


class IndexConfig(IndexOptions):
    """The index of moments that `reeldex search` and the search page answer from."""

    folder: Annotated[
        Path, Field(title="Folder", description="Folder of the index that is built, searched and shown.")
    ] = Path("index")
    captions: Annotated[
        Path | None,
        Field(
            title="Captions",
            description="A caption file as HowTo100M's (.pickle, .json): the windows of its captions are the moments "
            "of the videos it names. Other videos, and all of them without it, have windows of one length.",
        ),
    ] = None
