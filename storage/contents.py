"""What a store holds in each feature space and of each video, with where and how it was made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from reeldex.storage.documents import canonical_json
from reeldex.storage.errors import StoreDamagedError, StoreUnreadableError, UnknownVideoError
from reeldex.storage.hashing import Extent
from reeldex.storage.schema import JSON, JSONObject, VideoEntry, VideoOutcome
from reeldex.storage.shard import ShardReader
from reeldex.storage.store import FeatureStore


@dataclass(frozen=True)
class SpaceContents:
    """A feature space of a store.

    `origin` is `extracted`, `imported` (of unknown origin), `claimed` (imported, and said to be this space), or
    `unknown` when no file can be read. `made_with` counts the shards by each value of their provenance; the number of
    those that cannot be read is `unread`.
    """

    name: str
    videos: int
    rows: int
    size_bytes: int
    origin: str
    fingerprint: JSONObject
    made_with: Mapping[str, Mapping[str, int]]
    unread: int


@dataclass(frozen=True)
class VideoRows:
    """The rows of a video in one space: the file below the store, their place in it, times and provenance."""

    file: str
    extent: Extent
    start_seconds: float
    seconds_per_row: float
    provenance: JSONObject


@dataclass(frozen=True)
class VideoContents:
    """A video of a store; `outcome` is None and `rows` empty while it is not extracted."""

    entry: VideoEntry
    shard: int
    outcome: VideoOutcome | None
    rows: Mapping[str, VideoRows]


def space_contents(store: FeatureStore, space: str) -> SpaceContents:
    """Return the contents of a feature space; opens each of its files. Raises UnknownSpaceError."""
    ids = store.ids(space)
    fingerprint: Mapping[str, JSON] = {}
    made_with: dict[str, Counter[str]] = {}
    rows = size_bytes = unread = 0
    for manifest in store.manifests():
        outcomes = store.outcomes(manifest.shard)
        if outcomes is None or space not in outcomes.files:
            continue
        size_bytes += outcomes.files[space].size_bytes
        try:
            with ShardReader(store.path / outcomes.files[space].name) as reader:
                fingerprint = fingerprint or reader.space.fingerprint
                for key, value in reader.provenance.items():
                    text = value if isinstance(value, str) else canonical_json(value)
                    made_with.setdefault(key, Counter())[text] += 1
        except (FileNotFoundError, StoreDamagedError, StoreUnreadableError):
            unread += 1
    for video_id in ids:
        outcome = store.outcome(video_id)
        rows += outcome.rows[space] if outcome else 0
    origin = _origin(fingerprint) if fingerprint else "unknown"
    return SpaceContents(
        space, len(ids), rows, size_bytes, origin, fingerprint, dict(sorted(made_with.items())), unread
    )


def video_contents(store: FeatureStore, video_id: str) -> VideoContents:
    """Return what a store holds of a video's latest version; raises UnknownVideoError for an unknown id."""
    entry, place = store.entry(video_id), store.place(video_id)
    if entry is None or place is None:
        raise UnknownVideoError(
            f"{store.path} has no video {video_id!r}. `reeldex ls {store.path}` lists the ids of its videos."
        )
    shard, outcome, rows = place[0], store.outcome(video_id), {}
    for space in outcome.rows if outcome else ():
        path = store.feature_file(space, video_id)
        outcomes = store.outcomes(shard)
        if outcomes is None:
            continue
        with ShardReader(path) as reader:
            timing = reader.timing(entry.video_id)
            rows[space] = VideoRows(
                path.relative_to(store.path).as_posix(),
                outcomes.files[space].extents[entry.video_id],
                timing.start_seconds,
                timing.seconds_per_row,
                reader.provenance,
            )
    return VideoContents(entry, shard, outcome, rows)


def _origin(fingerprint: Mapping[str, JSON]) -> str:
    if fingerprint.get("claimed"):
        return "claimed"
    return "imported" if fingerprint.get("origin") == "imported npy" else "extracted"
