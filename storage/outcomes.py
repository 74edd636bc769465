"""The outcome of each video of a shard, and the record of its feature files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.documents import REMEDIES, read_document, refuse, write_document
from reeldex.storage.hashing import Extent, WrittenFile, file_sha256
from reeldex.storage.json_codec import Integer, Number, Text, to_json
from reeldex.storage.manifest import ShardManifest
from reeldex.storage.schema import JSONObject, VideoOutcome, check_space_name
from reeldex.storage.system_errors import reading

_KIND = "outcomes"


@dataclass(frozen=True)
class FileRecord:
    """A published feature file: its path below the store, size in bytes and SHA-256 (hex).

    `extents` records where each video's rows are stored, so that a damaged file can be checked without the HDF5
    library, which might hang or crash on it.
    """

    name: Text
    size_bytes: Integer
    sha256: Text
    extents: Mapping[str, Extent]

    @classmethod
    def written(cls, root: Path, path: Path, file: WrittenFile) -> FileRecord:
        """Return the record of a file below `root` that was just written."""
        return cls(path.relative_to(root).as_posix(), file.size_bytes, file.sha256, file.extents)

    @classmethod
    def of(cls, root: Path, path: Path, extents: Mapping[str, Extent]) -> FileRecord:
        """Return the record of a file below `root`; reads all of it. Raises StoreUnreadableError."""
        with reading(path):
            return cls(path.relative_to(root).as_posix(), path.stat().st_size, file_sha256(path), extents)


@dataclass(frozen=True)
class ShardOutcomes:
    """Outcomes of a shard's videos in the manifest's order, and the files with their features.

    `files` maps the name of a space to its file. `seconds_of_work` is the total time of all extractions of the
    shard. `provenance` is that of the last one. `absorbed` names the staged files that are already included,
    so that after a kill before their removal they are not counted twice. Raises ValueError
    for outcomes of a video with rows in a space without a file.
    """

    shard: Integer
    videos: tuple[VideoOutcome, ...]
    files: Mapping[str, FileRecord]
    seconds_of_work: Number
    provenance: JSONObject = field(default_factory=dict)
    absorbed: tuple[Text, ...] = ()

    def __post_init__(self) -> None:
        for space in self.files:
            check_space_name(space)
        for outcome in self.videos:
            if without_file := sorted(set(outcome.rows) - set(self.files)):
                raise ValueError(
                    f"Shard {self.shard}: {outcome.video_id!r} has rows in {without_file}, without a file."
                )
            if outcome.status == "ok" and not outcome.rows:
                raise ValueError(f"Shard {self.shard}: {outcome.video_id!r} is ok but has no rows in any space.")
        if self.seconds_of_work < 0:
            raise ValueError(f"Shard {self.shard}: the seconds of work are negative ({self.seconds_of_work}).")

    def disagreement(self, manifest: ShardManifest) -> str | None:
        """Return how these outcomes differ from those of the manifest's videos, None if they match."""
        if [(video.video_id, video.path) for video in self.videos] == [
            (entry.video_id, entry.path) for entry in manifest.videos
        ]:
            return None
        return (
            f"The outcomes of shard {self.shard} are not those of the {len(manifest.videos)} videos in its manifest. "
            f"{REMEDIES[_KIND]}"
        )


def write_outcomes(root: Path, outcomes: ShardOutcomes) -> None:
    """Publish a shard's outcomes, replacing earlier ones."""
    body = to_json(outcomes)
    body["files"] = dict(sorted(body["files"].items()))
    order = ("shard", "seconds_of_work", "files", "provenance", "absorbed", "videos")
    write_document(layout.outcomes_file(root, outcomes.shard), _KIND, {name: body[name] for name in order})


def read_outcomes(root: Path, shard: int) -> ShardOutcomes | None:
    """Return a shard's outcomes, None if it has none; raises StoreDamagedError and StoreUnreadableError."""
    path = layout.outcomes_file(root, shard)
    try:
        outcomes = read_document(path, _KIND, ShardOutcomes)
    except FileNotFoundError:
        return None
    for space, record in outcomes.files.items():
        if record.name != layout.features_file(root, space, shard).relative_to(root).as_posix():
            refuse(path, _KIND, f"files.{space}: the file name {record.name!r} is not that of shard {shard} in {space}")
    if outcomes.shard != shard:
        refuse(path, _KIND, f"the file says that it belongs to shard {outcomes.shard}")
    return outcomes
