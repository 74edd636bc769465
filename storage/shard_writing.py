"""Writes one HDF5 file: the features of a shard's videos in one space."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import h5py

from reeldex.storage.atomic import publish, syncing
from reeldex.storage.hashing import WrittenFile, file_sha256
from reeldex.storage.hdf5 import create
from reeldex.storage.row_datasets import write_rows
from reeldex.storage.schema import FORMAT, FORMAT_VERSION, JSON, FeatureRows, FeatureSpace, check_video_id
from reeldex.storage.shard import ShardReader

# Dataset headers and links; the limit bounds the unused rest of it.
_METADATA_BYTES_PER_VIDEO = 2048
_MOST_METADATA_BYTES = 4 << 20


def write_shard(  # noqa: PLR0913 - what the file holds, and a hint
    path: Path,
    space: FeatureSpace,
    shard: int,
    items: Iterable[tuple[str, FeatureRows]],
    provenance: Mapping[str, JSON],
    *,
    video_count: int = 0,
) -> WrittenFile:
    """Publish the features of a shard's videos as one HDF5 file; keeps one video in memory at a time.

    With `video_count`, about the number of items, what HDF5 needs to find rows is in one piece near the start of the
    file: from an object store, it is then fetched by one request.

    Writes `/features/<video id>`, (R, D) float16, contiguous, with the attributes start_seconds,
    seconds_per_row, duration_seconds (NaN when unknown), truncated, source, position (the video's place in
    the file) and sha256 (see `hashing.rows_sha256`); where known also damaged_rows (N, 2), colour_range, colour_matrix,
    colour_primaries and colour_transfer. The root carries format, format_version, space,
    fingerprint (JSON), provenance (JSON), shard, created (ISO 8601, UTC). Equal items give equal datasets.
    Raises ValueError for an id that is invalid, occurs twice or is a folder of another, and for rows of different
    dimensions.
    """
    with publish(path) as temporary:
        with create(temporary, min(_METADATA_BYTES_PER_VIDEO * video_count, _MOST_METADATA_BYTES)) as file:
            file.attrs["format"] = FORMAT
            file.attrs["format_version"] = FORMAT_VERSION
            file.attrs["space"] = space.name
            file.attrs["fingerprint"] = space.fingerprint_json()
            file.attrs["provenance"] = json.dumps(dict(provenance), sort_keys=True)
            file.attrs["shard"] = shard
            file.attrs["created"] = datetime.now(UTC).isoformat(timespec="seconds")
            _write_features(file.create_group("features", track_order=True), space, items)
        with syncing(path, temporary), ShardReader(temporary) as reader:
            return WrittenFile(temporary.stat().st_size, file_sha256(temporary), reader.extents())


def _write_features(features: h5py.Group, space: FeatureSpace, items: Iterable[tuple[str, FeatureRows]]) -> None:
    width: int | None = None
    for position, (video_id, rows) in enumerate(items):
        check_video_id(video_id)
        width = width or rows.rows.shape[1]
        if rows.rows.shape[1] != width:
            raise ValueError(
                f"The rows of {video_id!r} have dimension {rows.rows.shape[1]}, others of {space.name} {width}."
            )
        write_rows(_parent(features, video_id), video_id.rpartition("/")[2], rows, position)


def _parent(features: h5py.Group, video_id: str) -> h5py.Group:
    group = features
    for folder in video_id.split("/")[:-1]:
        child = group.get(folder)
        if child is None:
            child = group.create_group(folder, track_order=True)
        if isinstance(child, h5py.Dataset):
            raise ValueError(  # noqa: TRY004 - the id is at fault, not a type
                f"The id {video_id!r} has the id {child.name!r} as its folder; one file cannot contain both."
            )
        group = child
    return group
