"""Selects the videos of a store for an index, and compares them with the index's current videos."""

from __future__ import annotations

import hashlib
import logging
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from reeldex.embedding.caption_cache import CaptionFile
from reeldex.embedding.captions import VideoCaptions
from reeldex.embedding.errors import DatasetError
from reeldex.embedding.features import features_readable
from reeldex.remote_urls import is_url
from reeldex.search.columns import Columns
from reeldex.search.errors import NothingToIndexError, VideosVanishedError
from reeldex.search.request import Captions
from reeldex.search.video_records import VideoRecord, VideoRecords
from reeldex.storage import layout
from reeldex.storage.documents import canonical_json
from reeldex.storage.hashing import file_sha256
from reeldex.storage.outcomes import ShardOutcomes
from reeldex.storage.schema import JSON, VideoOutcome
from reeldex.storage.store import FeatureStore
from reeldex.storage.system_errors import look_at, reading
from reeldex.storage.video_names import name_without_suffix

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoreVideo:
    """A video that can be indexed; `signature` identifies the content of its features and captions.

    `captioned`: whether it has usable captions.
    """

    video_id: str
    path: str
    duration_seconds: float | None
    signature: str
    shard: int
    captioned: bool


class StoreVideos(Columns[StoreVideo]):
    """Videos that can be indexed: about 160 bytes each."""

    record = StoreVideo
    fields: ClassVar = {
        "video_id": str,
        "path": str,
        "duration_seconds": float | None,
        "signature": str,
        "shard": int,
        "captioned": bool,
    }


@dataclass(frozen=True)
class Usable:
    """The videos that can be indexed, in the order of the shards, and why captions of some cannot be used."""

    videos: StoreVideos
    unusable_captions: Mapping[str, str]


@dataclass(frozen=True)
class Changes:
    """How the videos wanted differ from those held: `kept` are records as they are to be from now on.

    `gone` are the records held of removed and changed videos.
    """

    added: Sequence[StoreVideo]
    changed: Sequence[StoreVideo]
    removed: int
    kept: VideoRecords
    gone: Sequence[VideoRecord]
    moved: int

    @property
    def any(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.added or self.changed or self.removed or self.moved)


def store_id(store: FeatureStore) -> str:
    """Return an identifier of a store that is stable when it moves or grows: the hash of its first manifest."""
    first = layout.manifest_file(store.path, 0)
    with features_readable(), reading(first):
        if look_at(first) is None:
            raise NothingToIndexError(
                f"The store {store.path} is empty. Extract features with `reeldex extract` first."
            )
        return file_sha256(first)


def captions_of(captions: Captions | None, video_id: str) -> VideoCaptions | None:
    """Return a video's captions by its id in the store, or by that id without folders and extension.

    Raises DatasetError for captions that cannot be used.
    """
    if captions is None:
        return None
    for name in dict.fromkeys((video_id, name_without_suffix(video_id))):
        if name in captions:
            return captions.captions(name) if isinstance(captions, CaptionFile) else captions[name]
    return None


def usable_videos(store: FeatureStore, spaces: Sequence[str], captions: Captions | None) -> Usable:
    """Return the videos whose latest version is ok and has features in all spaces.

    One whose captions cannot be used is indexed like one without.
    """
    found = StoreVideos()
    unusable = {}
    for manifest, outcomes in store.walk():
        uncounted = store.uncounted(manifest.shard)
        for position, entry in enumerate(manifest.videos if outcomes is not None else ()):
            if outcomes is None or position in uncounted or entry.duplicate_of is not None:
                continue
            outcome = outcomes.videos[position]
            if outcome.status != "ok" or not all(space in outcome.rows for space in spaces):
                continue
            try:
                said = captions_of(captions, entry.video_id)
            except DatasetError as error:
                log.warning("%s It is indexed without captions.", error)
                unusable[entry.video_id], said = str(error), None
            signature = _signature(outcomes, outcome, spaces, said)
            found.append(
                StoreVideo(
                    entry.video_id,
                    entry.path,
                    outcome.duration_seconds,
                    signature,
                    manifest.shard,
                    captioned=said is not None,
                )
            )
    return Usable(found, unusable)


def with_files(videos: StoreVideos, held: VideoRecords, missing_files: Literal["drop", "keep"]) -> StoreVideos:
    """Leave out videos whose file no longer exists, unless they are to be kept. One at a URL counts as existing.

    Raises VideosVanishedError when that would remove more than half of the videos of an index, and
    NothingToIndexError when no video is left.
    """
    paths = videos.texts("path")
    there = np.fromiter((missing_files == "keep" or is_url(path) or Path(path).exists() for path in paths), bool)
    if videos and there.all():
        return videos
    gone = videos.chosen(np.flatnonzero(~there))
    held_ids = set(held.texts("video_id"))
    vanishing = [video.path for video in gone if video.video_id in held_ids]
    if 2 * len(vanishing) > len(held):
        raise VideosVanishedError(
            f"The files of {len(vanishing)} of the {len(held)} videos of the index are gone, among them "
            f"{vanishing[0]}. Is their disk mounted? Nothing was changed. To keep moments of videos whose files "
            "are gone, set missing_files to keep; if they are gone for good, delete the index and build it again."
        )
    if not there.any():
        why = f"none of the files of its {len(videos)} videos is there" if videos else "it has features of none"
        raise NothingToIndexError(
            f"The store has no video to be indexed: {why}. Mount their disk or set missing_files to keep, or extract "
            "videos with `reeldex extract`."
        )
    return StoreVideos(videos.chosen(np.flatnonzero(there)))


def compare(held: VideoRecords, wanted: StoreVideos) -> Changes:
    """Return what has to be added, changed, removed and kept; pure, touches no file."""
    place_of = {video_id: at for at, video_id in enumerate(held.texts("video_id"))}
    signatures, paths, shards = held.texts("signature"), held.texts("path"), held.numbers("shard").tolist()
    added, changed, moved = array("q"), array("q"), 0
    removed = np.ones(len(held), bool)
    kept_as = np.full(len(held), -1)
    for at, video in enumerate(wanted):
        place = place_of.get(video.video_id)
        if place is None:
            added.append(at)
            continue
        removed[place] = False
        if signatures[place] != video.signature:
            changed.append(at)
            continue
        kept_as[place] = at
        moved += (paths[place], shards[place]) != (video.path, video.shard)
    gone = held.chosen(np.flatnonzero(kept_as < 0))
    kept = _kept(held, wanted, kept_as) if moved or gone else held
    return Changes(wanted.chosen(added), wanted.chosen(changed), int(removed.sum()), kept, gone, moved)


def _kept(held: VideoRecords, wanted: StoreVideos, kept_as: npt.NDArray[np.int64]) -> VideoRecords:
    """Return the records held that are kept, with path and shard of the videos wanted.

    `kept_as` has the place of the video wanted for each record held, -1 for none.
    """
    paths, shards = wanted.texts("path"), wanted.numbers("shard").tolist()
    pairs = zip(held, kept_as.tolist(), strict=True)
    return VideoRecords(replace(record, path=paths[at], shard=shards[at]) for record, at in pairs if at >= 0)


def _signature(
    outcomes: ShardOutcomes, outcome: VideoOutcome, spaces: Sequence[str], captions: VideoCaptions | None
) -> str:
    content: dict[str, JSON] = {
        "rows": [outcomes.files[space].extents[outcome.video_id].sha256 for space in spaces],
        "duration_seconds": outcome.duration_seconds,
        "captions": None
        if captions is None
        else [list(captions.start_seconds), list(captions.end_seconds), list(captions.texts)],
    }
    return hashlib.sha256(canonical_json(content).encode("ascii")).hexdigest()
