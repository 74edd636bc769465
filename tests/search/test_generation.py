"""Files of an index, held to the content that version 2 of the format has: indexes that exist keep opening."""

from __future__ import annotations

import json
from pathlib import Path

from reeldex.search.generation import (
    AnnIndexRecord,
    FileIdentity,
    Generation,
    IndexInputs,
    Recall,
    publish_generation,
    read_generation,
)
from reeldex.search.options import IndexOptions

GENERATION = Generation(
    7,
    "2026-01-01T00:00:00+00:00",
    IndexInputs(
        "/s\udcff", "id", FileIdentity("/c.pth", 5, 6, "ab"), "/w", "cd",
        {"2d": {"space": "n.v1", "fingerprint": {"a": 1.5}}}, 6144,
    ),
    IndexOptions(),
    100,
    {3: 10, 1: 5},
    AnnIndexRecord(7, "IVF", exact=False, trained_on=100, nprobe=8, dim=256),
    Recall(0.99, 200, "x"),
    15,
    2,
    {"a.npy": 5},
)  # fmt: skip
GENERATION_TEXT = r"""{
 "format": "reeldex-index",
 "format_version": 2,
 "number": 7,
 "created": "2026-01-01T00:00:00+00:00",
 "made": {
  "store": "/s\udcff",
  "store_id": "id",
  "checkpoint": {
   "path": "/c.pth",
   "size_bytes": 5,
   "mtime_ns": 6,
   "sha256": "ab"
  },
  "words_cache": "/w",
  "words_sha256": "cd",
  "spaces": {
   "2d": {
    "space": "n.v1",
    "fingerprint": {
     "a": 1.5
    }
   }
  },
  "embed_dim": 6144
 },
 "options": {
  "window_seconds": 8.0,
  "stride_seconds": 4.0,
  "min_caption_seconds": 5.0,
  "factory": "auto",
  "exact_below": 50000,
  "rotated_dims": 256,
  "candidates": 128,
  "probes": 0,
  "recall_sample": 200,
  "batch_size": 256,
  "device": "auto",
  "missing_files": "drop",
  "space_2d": null,
  "space_3d": null
 },
 "next_id": 100,
 "rows": {
  "3": 10,
  "1": 5
 },
 "structure": {
  "number": 7,
  "factory": "IVF",
  "exact": false,
  "trained_on": 100,
  "probes": 8,
  "dim": 256
 },
 "recall": {
  "at_10": 0.99,
  "sample": 200,
  "queries": "x"
 },
 "moments": 15,
 "videos": 2,
 "files": {
  "a.npy": 5
 },
 "sha256": "1fc18813264ab1c1a64d13d2df46e307a2ef65a73850c3a2350400f28c2e4fcf"
}
"""


def test_a_generation_has_the_content_of_the_format(tmp_path: Path) -> None:
    publish_generation(tmp_path, GENERATION)
    # Values and checksum; the order of the options' names is that of their declaration.
    assert json.loads((tmp_path / "index.json").read_bytes()) == json.loads(GENERATION_TEXT)
    assert read_generation(tmp_path) == GENERATION


def test_an_index_of_an_earlier_release_opens(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(GENERATION_TEXT, encoding="utf-8")
    assert read_generation(tmp_path) == GENERATION
