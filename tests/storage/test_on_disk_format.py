"""JSON files of a store, held to the bytes that version 1 of the format has: stores that exist keep opening."""

from __future__ import annotations

from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.hashing import Extent
from reeldex.storage.manifest import ShardManifest, read_manifest, write_manifest
from reeldex.storage.outcomes import FileRecord, ShardOutcomes, read_outcomes, write_outcomes
from reeldex.storage.schema import VideoEntry, VideoOutcome

MANIFEST = ShardManifest(
    0,
    (
        VideoEntry("é/a.mp4", "/videos/\udcff\n.mp4", 12, 1_700_000_000_123_456_789),
        VideoEntry("gone", "/gone.mp4", None, None),
        VideoEntry("é/a.mp4", "/b.mp4", 1, 2, duplicate_of="/videos/\udcff\n.mp4"),
    ),
    ("net.v1", "other.v1"),
)
MANIFEST_TEXT = r"""{
 "format": "reeldex-features",
 "format_version": 1,
 "kind": "manifest",
 "shard": 0,
 "spaces": [
  "net.v1",
  "other.v1"
 ],
 "videos": [
  {
   "video_id": "\u00e9/a.mp4",
   "path": "/videos/\udcff\n.mp4",
   "size_bytes": 12,
   "mtime_ns": 1700000000123456789,
   "duplicate_of": null
  },
  {
   "video_id": "gone",
   "path": "/gone.mp4",
   "size_bytes": null,
   "mtime_ns": null,
   "duplicate_of": null
  },
  {
   "video_id": "\u00e9/a.mp4",
   "path": "/b.mp4",
   "size_bytes": 1,
   "mtime_ns": 2,
   "duplicate_of": "/videos/\udcff\n.mp4"
  }
 ],
 "sha256": "a2d49712a91e324ca3d6a6b155cd64639f9c27a896819823f4ddf24faa2b2de3"
}
"""

OUTCOMES = ShardOutcomes(
    0,
    (
        VideoOutcome(
            "é/a.mp4", "/videos/\udcff\n.mp4", "ok", "truncated", "", 1, truncated=True, decode_error_count=3,
            duration_seconds=3, rows={"other.v1": 2, "net.v1": 3},
        ),
        VideoOutcome("gone", "/gone.mp4", "failed", "missing", "There is no such file.", 2),
    ),
    {
        "other.v1": FileRecord("features/other.v1/shard-00000.h5", 9, "ab", {}),
        "net.v1": FileRecord("features/net.v1/shard-00000.h5", 8, "cd", {"é/a.mp4": Extent(4096, 3, 2048, "ef")}),
    },
    12.25,
    {"host": "h", "versions": [1, {"none": None}], "share": 1.0},
    ("token",),
)  # fmt: skip
OUTCOMES_TEXT = r"""{
 "format": "reeldex-features",
 "format_version": 1,
 "kind": "outcomes",
 "shard": 0,
 "seconds_of_work": 12.25,
 "files": {
  "net.v1": {
   "name": "features/net.v1/shard-00000.h5",
   "size_bytes": 8,
   "sha256": "cd",
   "extents": {
    "\u00e9/a.mp4": {
     "offset_bytes": 4096,
     "row_count": 3,
     "width": 2048,
     "sha256": "ef"
    }
   }
  },
  "other.v1": {
   "name": "features/other.v1/shard-00000.h5",
   "size_bytes": 9,
   "sha256": "ab",
   "extents": {}
  }
 },
 "provenance": {
  "host": "h",
  "versions": [
   1,
   {
    "none": null
   }
  ],
  "share": 1.0
 },
 "absorbed": [
  "token"
 ],
 "videos": [
  {
   "video_id": "\u00e9/a.mp4",
   "path": "/videos/\udcff\n.mp4",
   "status": "ok",
   "reason": "truncated",
   "message": "",
   "attempts": 1,
   "truncated": true,
   "decode_error_count": 3,
   "duration_seconds": 3,
   "rows": {
    "other.v1": 2,
    "net.v1": 3
   }
  },
  {
   "video_id": "gone",
   "path": "/gone.mp4",
   "status": "failed",
   "reason": "missing",
   "message": "There is no such file.",
   "attempts": 2,
   "truncated": false,
   "decode_error_count": 0,
   "duration_seconds": null,
   "rows": {}
  }
 ],
 "sha256": "784b3249344d641ddeda1b14b9757f87aab94443d01f99bbbac28781bd3994b8"
}
"""


def test_a_manifest_has_the_bytes_of_the_format(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    path = layout.manifest_file(tmp_path, 0)
    assert path.read_text(encoding="utf-8") == MANIFEST_TEXT
    assert read_manifest(path) == MANIFEST


def test_outcomes_have_the_bytes_of_the_format(tmp_path: Path) -> None:
    write_outcomes(tmp_path, OUTCOMES)
    assert layout.outcomes_file(tmp_path, 0).read_text(encoding="utf-8") == OUTCOMES_TEXT
    assert read_outcomes(tmp_path, 0) == OUTCOMES
