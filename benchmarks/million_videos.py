"""A store of a million videos: how long `status`, planning, listing, a random span and recording a search take.

python -m benchmarks.million_videos FOLDER [--shards 5000] [--videos-per-shard 240]

The store is synthetic: real manifests and outcomes, and real feature files for a few shards; those of the others are
holes of the recorded size. It is made once and used again. Prints CPU seconds as JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from reeldex.extractors.options import DecodeOptions
from reeldex.flows.extraction.plan import plan, tasks_for
from reeldex.storage import layout
from reeldex.storage.hashing import Extent
from reeldex.storage.manifest import ShardManifest, write_manifest
from reeldex.storage.outcomes import FileRecord, ShardOutcomes, write_outcomes
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoEntry, VideoOutcome
from reeldex.storage.searches import Searches
from reeldex.storage.shard import ShardReader, write_shard
from reeldex.storage.store import FeatureStore

SPACE = FeatureSpace("net2d.v1", {"weights": "aa", "fps": 1})
_ROWS, _WIDTH = 4, 8
_REAL_SHARDS = 4
_HOLE_BYTES = 400_000
_NEW_VIDEOS = 1000


def main() -> None:
    """Make the store if it is absent, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", type=int, default=5000)
    parser.add_argument("--videos-per-shard", type=int, default=240)
    arguments = parser.parse_args()
    root = arguments.folder / f"store-{arguments.shards}x{arguments.videos_per_shard}"
    complete = root / "complete"
    if not complete.exists():
        make_store(root, arguments.shards, arguments.videos_per_shard)
        complete.touch()
    figures = {name: round(seconds, 4) for name, seconds in measure(root, arguments.videos_per_shard).items()}
    print(json.dumps({"videos": arguments.shards * arguments.videos_per_shard, **figures}, indent=2))


def video_id(shard: int, position: int) -> str:
    """Return the id of a video of the synthetic store."""
    return f"folder-{shard:05d}/video-{position:05d}.mp4"


def make_store(root: Path, shards: int, videos_per_shard: int) -> None:
    """Write a complete store; of the feature files, the first few are real."""
    shutil.rmtree(root, ignore_errors=True)
    FeatureStore(root, create=True)
    for shard in range(shards):
        names = [video_id(shard, position) for position in range(videos_per_shard)]
        entries = tuple(VideoEntry(name, f"/videos/{name}", 1_000_000, 1_700_000_000_000_000_000) for name in names)
        write_manifest(root, ShardManifest(shard, entries, (SPACE.name,)))
        record = _real_file(root, shard, names) if shard < _REAL_SHARDS else _hole(root, shard, names)
        outcomes = tuple(
            VideoOutcome(
                each.video_id, each.path, "ok", None, "", 1, duration_seconds=float(_ROWS), rows={SPACE.name: _ROWS}
            )
            for each in entries
        )
        write_outcomes(root, ShardOutcomes(shard, outcomes, {SPACE.name: record}, 1.0, {"ffmpeg": "9.0.2"}))


def _real_file(root: Path, shard: int, names: list[str]) -> FileRecord:
    rows = np.full((_ROWS, _WIDTH), 0.5, np.float16)
    features = FeatureRows(rows, 0.0, 1.0, float(_ROWS), truncated=False, source="/videos")
    path = layout.features_file(root, SPACE.name, shard)
    write_shard(path, SPACE, shard, ((name, features) for name in names), {"ffmpeg": "9.0.2"})
    with ShardReader(path) as reader:
        return FileRecord.of(root, path, reader.extents())


def _hole(root: Path, shard: int, names: list[str]) -> FileRecord:
    path = layout.features_file(root, SPACE.name, shard)
    with path.open("wb") as file:
        file.truncate(_HOLE_BYTES)
    extents = {name: Extent(4096 + 64 * at, _ROWS, _WIDTH, "0" * 64) for at, name in enumerate(names)}
    return FileRecord(path.relative_to(root).as_posix(), _HOLE_BYTES, "0" * 64, extents)


def measure(root: Path, videos_per_shard: int) -> dict[str, float]:
    """Return the CPU seconds of each use of the store, each with nothing in memory unless its name says otherwise."""
    store = FeatureStore(root)
    found = {"manifests": _seconds(store.manifests), "status": _seconds(lambda: FeatureStore(root).status())}
    found["planning of 1,000 new videos"] = _seconds(lambda: _plan(FeatureStore(root)))
    chance = random.Random(0)  # noqa: S311 - a choice of videos

    def span() -> None:
        name = video_id(chance.randrange(_REAL_SHARDS), chance.randrange(videos_per_shard))
        if len(store.read_span(SPACE.name, name, 1.0, 2.0)) != 2:
            raise ValueError(f"The span of {name} has another number of rows.")

    found["first span"] = _seconds(span)
    found["span of an open store, median"] = statistics.median(_seconds(span) for _ in range(200))
    found["ls"] = _seconds(lambda: FeatureStore(root).videos())
    ids = {entry.video_id for entry in store.current_entries()}
    found["first record of a search"] = _seconds(lambda: _search(root, ids))
    found["record of the same search"] = _seconds(lambda: _search(root, ids))
    found["reading what has left"] = _seconds(lambda: (FeatureStore(root).searches() or Searches()).left)
    return found


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _plan(store: FeatureStore) -> None:
    new = [VideoEntry(f"new/{at}.mp4", f"/videos/new/{at}.mp4", 10, 20) for at in range(_NEW_VIDEOS)]
    growth = plan(store, new, [SPACE.name], 240, DecodeOptions())
    if growth.new != _NEW_VIDEOS or tasks_for(store, new, [SPACE.name]):
        raise ValueError("The plan is not that of new videos.")


def _search(root: Path, ids: set[str]) -> None:
    store = FeatureStore(root)
    store.record_searches((store.searches() or Searches()).with_search("/videos", ids, store.searched_ids))


if __name__ == "__main__":
    main()
