"""The request for one build of an index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from reeldex.embedding.caption_cache import CaptionFile
from reeldex.embedding.captions import VideoCaptions
from reeldex.embedding.words.vectors import WordVectors
from reeldex.search.options import IndexOptions

Captions: TypeAlias = Mapping[str, VideoCaptions] | CaptionFile


@dataclass(frozen=True)
class IndexRequest:
    """One build: the index of `store` at `out`, made or brought up to date.

    `captions` maps videos to captions, by their id in the store or by that id without folders and extension. With
    `rebuild`, a damaged index, or one of another checkpoint, store or kind of moments, is replaced, not refused.
    """

    store: Path
    checkpoint: Path
    words: WordVectors
    out: Path
    options: IndexOptions
    captions: Captions | None = None
    rebuild: bool = False
