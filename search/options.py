"""How an index is to be made: options that refuse bad values, and the request for one build."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from reeldex.embedding.captions import CaptionFile, VideoCaptions
from reeldex.embedding.words.vectors import WordVectors
from reeldex.storage.schema import JSON

Captions = Mapping[str, VideoCaptions] | CaptionFile
MissingFiles = Literal["drop", "keep"]
AUTO = "auto"

MOMENT_FIELDS = ("window_seconds", "stride_seconds", "min_caption_seconds")
STRUCTURE_FIELDS = ("factory", "exact_below", "rotated_dims")
SEARCH_FIELDS = ("candidates", "probes", "recall_sample")


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """How an index is made and searched.

    What moments are:

    - `window_seconds`, `stride_seconds`: windows of a video without captions.
    - `min_caption_seconds`: what captions grow to.

    How they are searched:

    - `factory`: a FAISS factory string, such as IVF4096,SQ8; "auto" compares with every moment below `exact_below`
      moments and uses IVF above.
    - `rotated_dims`: numbers to which a learned rotation reduces embeddings for all but exact search; 0 for none.
    - `candidates`: moments of the FAISS structure's choice that are ranked by their exact scores.
    - `probes`: lists of an IVF that are looked at; 0 for as few as reach a recall of 0.97 on the sample.
    - `recall_sample`: queries by which the recall is measured at each build.

    How it is built:

    - `batch_size`: moments that go through the video tower at once; `device`: auto, cpu or cuda[:N].
    - `missing_files`: whether videos whose file is no longer there are dropped or kept.
    - `space_2d`, `space_3d`: feature spaces; None for the store's only ones.

    Raises ValueError for values that make no sense.
    """

    window_seconds: float = 8.0
    stride_seconds: float = 4.0
    min_caption_seconds: float = 5.0
    factory: str = AUTO
    exact_below: int = 50_000
    rotated_dims: int = 256
    candidates: int = 128
    probes: int = 0
    recall_sample: int = 200
    batch_size: int = 256
    device: str = AUTO
    missing_files: MissingFiles = "drop"
    space_2d: str | None = None
    space_3d: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.stride_seconds <= self.window_seconds <= 3600:
            self._refuse("0 < stride_seconds <= window_seconds <= 3600, or parts of a video would be in no window")
        if not 0 <= self.min_caption_seconds <= 3600:
            self._refuse("0 <= min_caption_seconds <= 3600")
        if self.rotated_dims < 0 or self.probes < 0 or self.exact_below < 0:
            self._refuse("rotated_dims, probes and exact_below of 0 or more")
        if min(self.candidates, self.recall_sample, self.batch_size) < 1:
            self._refuse("candidates, recall_sample and batch_size of at least 1")
        if not self.factory.strip():
            self._refuse('a factory string such as IVF4096,SQ8, or "auto"')
        if self.missing_files not in {"drop", "keep"}:
            self._refuse("missing_files: drop or keep")

    def to_json(self) -> dict[str, JSON]:
        """Return the fields as JSON values."""
        return asdict(self)

    def unlike(self, other: "IndexOptions", fields: tuple[str, ...]) -> list[str]:
        """Name those of `fields` in which both differ."""
        return [name for name in fields if getattr(self, name) != getattr(other, name)]

    def _refuse(self, wanted: str) -> None:
        raise ValueError(f"An index needs {wanted}; got {self}.")


@dataclass(frozen=True)
class IndexRequest:
    """One build: the index of `store` at `out`, made or brought up to date.

    `captions` gives what is said in videos, by their id in the store or by that id without folders and ending. With
    `rebuild`, a damaged index, or one of another checkpoint, store or kind of moments, is replaced, not refused.
    """

    store: Path
    checkpoint: Path
    words: WordVectors
    out: Path
    options: IndexOptions
    captions: Captions | None = None
    rebuild: bool = False
