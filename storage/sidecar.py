"""The record beside exported features: what defines them, and the video, times and hash of each file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from reeldex.storage.documents import read_document, write_document
from reeldex.storage.json_codec import Flag, Integer, Number, Text, to_json
from reeldex.storage.schema import FeatureSpace, JSONObject, VideoEntry, VideoOutcome, check_video_id

SIDECAR = "features.json"
"""Its name in the folder of a feature space. No exported video has a file of this name: theirs end in .npy."""
_KIND = "export"


@dataclass(frozen=True)
class ExportedVideo:
    """One exported file: its rows as in a feature file of a store, and the video they come from.

    `sha256` is that of `hashing.rows_sha256`, `source` the path that the features were extracted from. `entry` and
    `outcome` are the store's records of the video. `provenance` is an index of `Sidecar.provenances`. `colour` and
    `damaged_rows` are those of `FeatureRows`; records of earlier releases lack them.
    """

    row_count: Integer
    dimensions: Integer
    sha256: Text
    start_seconds: Number
    seconds_per_row: Number
    duration_seconds: Number | None
    truncated: Flag
    source: Text
    entry: VideoEntry
    outcome: VideoOutcome
    provenance: Integer
    colour: Annotated[Mapping[str, Text], Field(exclude_if=lambda colour: not colour)] = field(default_factory=dict)
    damaged_rows: Annotated[tuple[tuple[Integer, Integer], ...] | None, Field(exclude_if=lambda it: it is None)] = None


@dataclass(frozen=True)
class Sidecar:
    """The exported files of a feature space by video id. Raises ValueError for a provenance that is not there."""

    space: Text
    fingerprint: JSONObject
    provenances: tuple[JSONObject, ...]
    videos: Mapping[str, ExportedVideo]

    def __post_init__(self) -> None:
        FeatureSpace(self.space, self.fingerprint)
        for video_id, video in self.videos.items():
            check_video_id(video_id)
            if not 0 <= video.provenance < len(self.provenances):
                raise ValueError(f"The video {video_id!r} has the provenance {video.provenance}, which does not exist.")
            if {video_id} != {video.entry.video_id, video.outcome.video_id}:
                raise ValueError(f"The records of the video {video_id!r} are those of {video.entry.video_id!r}.")

    @property
    def feature_space(self) -> FeatureSpace:
        """The space of the features."""
        return FeatureSpace(self.space, self.fingerprint)


def read_sidecar(folder: Path) -> Sidecar | None:
    """Return the record of a folder with exported features, None if it has none.

    Raises StoreDamagedError for one that was edited or damaged, and StoreUnreadableError.
    """
    path = folder / SIDECAR
    try:
        return read_document(path, _KIND, Sidecar)
    except FileNotFoundError:
        return None


def write_sidecar(folder: Path, sidecar: Sidecar) -> None:
    """Publish the record of a folder with exported features, replacing an earlier one."""
    write_document(folder / SIDECAR, _KIND, to_json(sidecar))
