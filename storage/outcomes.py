"""What became of each video of a shard, and which feature files that made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.documents import REMEDIES, read_document, write_document
from reeldex.storage.fields import Fields
from reeldex.storage.hashing import Extent, file_sha256
from reeldex.storage.manifest import ShardManifest
from reeldex.storage.schema import JSON, VideoOutcome, check_space_name
from reeldex.storage.system_errors import reading

_KIND = "outcomes"


@dataclass(frozen=True)
class FileRecord:
    """A published feature file: its path below the store, size in bytes and SHA-256 (hex).

    `extents` says where each video's rows lie, and lets a damaged file be checked without the HDF5 library, which a
    damaged file can hang or crash.
    """

    name: str
    size_bytes: int
    sha256: str
    extents: Mapping[str, Extent]

    @classmethod
    def of(cls, root: Path, path: Path, extents: Mapping[str, Extent]) -> "FileRecord":
        """Make the record of a file below `root`; reads all of it. Raises StoreUnreadableError."""
        with reading(path):
            return cls(path.relative_to(root).as_posix(), path.stat().st_size, file_sha256(path), extents)

    def to_json(self) -> dict[str, JSON]:
        """Return the fields as JSON values."""
        extents: dict[str, JSON] = {
            video_id: {
                "offset_bytes": extent.offset_bytes,
                "row_count": extent.row_count,
                "width": extent.width,
                "sha256": extent.sha256,
            }
            for video_id, extent in self.extents.items()
        }
        return {"name": self.name, "size_bytes": self.size_bytes, "sha256": self.sha256, "extents": extents}

    @classmethod
    def from_fields(cls, fields: Fields) -> "FileRecord":
        """Undo `to_json`; raises StoreDamagedError."""
        name, size_bytes, sha256 = fields.text("name"), fields.integer("size_bytes"), fields.text("sha256")
        extents_fields = fields.child("extents")
        fields.finish()
        extents = {}
        for video_id in extents_fields.names():
            at = extents_fields.child(video_id)
            extents[video_id] = Extent(
                at.integer("offset_bytes"), at.integer("row_count"), at.integer("width"), at.text("sha256")
            )
            at.finish()
        return cls(name, size_bytes, sha256, extents)


@dataclass(frozen=True)
class ShardOutcomes:
    """Outcomes of a shard's videos in the manifest's order, and the files that hold their features.

    `files` maps the name of a space to its file. `seconds_of_work` is the time all extractions of the shard
    took together. `provenance` is that of the last one. `absorbed` names the staged files whose content is in
    here, so that a run that was killed before it removed them does not count them twice. Raises ValueError
    for outcomes of a video with rows in a space without a file.
    """

    shard: int
    videos: tuple[VideoOutcome, ...]
    files: Mapping[str, FileRecord]
    seconds_of_work: float
    provenance: Mapping[str, JSON] = field(default_factory=dict)
    absorbed: tuple[str, ...] = ()

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
        """Say where these outcomes are not those of exactly the manifest's videos, or return None."""
        if [(video.video_id, video.path) for video in self.videos] == [
            (entry.video_id, entry.path) for entry in manifest.videos
        ]:
            return None
        return (
            f"The outcomes of shard {self.shard} are not those of the {len(manifest.videos)} videos in its manifest. "
            f"{REMEDIES[_KIND]}"
        )


def write_outcomes(root: Path, outcomes: ShardOutcomes) -> None:
    """Publish a shard's outcomes, in place of earlier ones."""
    write_document(
        layout.outcomes_file(root, outcomes.shard),
        _KIND,
        {
            "shard": outcomes.shard,
            "seconds_of_work": outcomes.seconds_of_work,
            "files": {space: record.to_json() for space, record in sorted(outcomes.files.items())},
            "provenance": dict(outcomes.provenance),
            "absorbed": list(outcomes.absorbed),
            "videos": [outcome.to_json() for outcome in outcomes.videos],
        },
    )


def read_outcomes(root: Path, shard: int) -> ShardOutcomes | None:
    """Read a shard's outcomes, or None when it has none yet; raises StoreDamagedError and StoreUnreadableError."""
    path = layout.outcomes_file(root, shard)
    try:
        fields = read_document(path, _KIND)
    except FileNotFoundError:
        return None
    found, seconds_of_work = fields.integer("shard"), fields.number("seconds_of_work")
    provenance = fields.mapping("provenance")
    absorbed = fields.texts("absorbed")
    videos = tuple(VideoOutcome.from_fields(video) for video in fields.objects("videos"))
    files_fields = fields.child("files")
    fields.finish()
    files = {}
    for space in files_fields.names():
        record = files_fields.child(space)
        files[space] = FileRecord.from_fields(record)
        if files[space].name != layout.features_file(root, space, shard).relative_to(root).as_posix():
            record.refuse(f"the file name {files[space].name!r} is not that of shard {shard} in {space}")
    if found != shard:
        fields.refuse(f"the file says that it belongs to shard {found}")
    try:
        # Read back from JSON, the provenance holds JSON values only.
        return ShardOutcomes(shard, videos, files, seconds_of_work, provenance, absorbed)  # type: ignore[arg-type]
    except ValueError as error:
        fields.refuse(str(error))
