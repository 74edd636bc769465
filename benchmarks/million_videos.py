"""A store of a million videos: how long its uses take, and the memory of those that go through all of it.

python -m benchmarks.million_videos FOLDER [--shards 5000] [--videos-per-shard 240]

The store is synthetic: real manifests, outcomes, and feature files of tiny rows. It is made once, which takes minutes
at full size, and used again. Each use runs in a process of its own. Prints JSON: CPU and wall-clock seconds, and the
peak memory of the process, which includes that of Python and the libraries.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reeldex.storage import layout
from reeldex.storage.manifest import ShardManifest, write_manifest
from reeldex.storage.outcomes import FileRecord, ShardOutcomes, write_outcomes
from reeldex.storage.schema import FeatureRows, FeatureSpace, VideoEntry, VideoOutcome
from reeldex.storage.searches import Searches
from reeldex.storage.shard import ShardReader
from reeldex.storage.shard_writing import write_shard
from reeldex.storage.store import FeatureStore

SPACE = FeatureSpace("net2d.v1", {"weights": "aa", "fps": 1})
_ROWS, WIDTH = 4, 8
_NEW_VIDEOS = 1000
_SPANS = 200
_SAMPLE = "1%"


def main() -> None:
    """Make the store if it is absent, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", type=int, default=5000)
    parser.add_argument("--videos-per-shard", type=int, default=240)
    parser.add_argument("--use", choices=USES, help="measure only this use, in this process")
    arguments = parser.parse_args()
    shards, per_shard = arguments.shards, arguments.videos_per_shard
    root = arguments.folder / f"store-{shards}x{per_shard}"
    complete = root / "complete"
    if not complete.exists():
        make_store(root, shards, per_shard)
        complete.touch()
    if arguments.use is not None:
        print(json.dumps(measured(lambda: USES[arguments.use](root, shards, per_shard))))
        return
    cache = arguments.folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    common = [str(arguments.folder), "--shards", str(shards), "--videos-per-shard", str(per_shard)]
    print(json.dumps({"videos": shards * per_shard, "load": os.getloadavg()}), flush=True)
    for use in USES:
        command = [sys.executable, "-m", "benchmarks.million_videos", *common, "--use", use]
        environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
        print(json.dumps({use: json.loads(out)}), flush=True)
    print(json.dumps({"load": os.getloadavg()}))


def measured(work: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    """Return what a use returns, with its CPU and wall-clock seconds and the peak memory of this process in MiB."""
    started, cpu = time.perf_counter(), time.process_time()
    found = work() or {}
    spent = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - started}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**{name: round(value, 3) for name, value in spent.items()}, "peak_mib": round(peak), **found}


def video_id(shard: int, position: int) -> str:
    """Return the id of a video of the synthetic store."""
    return f"folder-{shard:05d}/video-{position:05d}.mp4"


def make_store(root: Path, shards: int, videos_per_shard: int, spaces: Sequence[FeatureSpace] = (SPACE,)) -> None:
    """Write a complete store, with tiny rows in each space."""
    shutil.rmtree(root, ignore_errors=True)
    FeatureStore(root, create=True)
    for shard in range(shards):
        names = [video_id(shard, position) for position in range(videos_per_shard)]
        entries = tuple(VideoEntry(name, f"/videos/{name}", 1_000_000, 1_700_000_000_000_000_000) for name in names)
        write_manifest(root, ShardManifest(shard, entries, tuple(space.name for space in spaces)))
        outcomes = tuple(
            VideoOutcome(
                each.video_id,
                each.path,
                "ok",
                None,
                "",
                1,
                duration_seconds=float(_ROWS),
                rows={space.name: _ROWS for space in spaces},
            )
            for each in entries
        )
        records = {space.name: _feature_file(root, space, shard, names) for space in spaces}
        write_outcomes(root, ShardOutcomes(shard, outcomes, records, 1.0, {"ffmpeg": "9.0.2"}))


def _feature_file(root: Path, space: FeatureSpace, shard: int, names: list[str]) -> FileRecord:
    rows = np.full((_ROWS, WIDTH), 0.5, np.float16)
    features = FeatureRows(rows, 0.0, 1.0, float(_ROWS), truncated=False, source="/videos")
    path = layout.features_file(root, space.name, shard)
    write_shard(path, space, shard, ((name, features) for name in names), {"ffmpeg": "9.0.2"})
    with ShardReader(path) as reader:
        return FileRecord.of(root, path, reader.extents())


def _status(root: Path, shards: int, videos_per_shard: int) -> None:
    status = FeatureStore(root).status()
    if (status.shards_done, status.ok) != (shards, shards * videos_per_shard):
        raise ValueError(f"The status is not that of the store: {status}")


def _plan(root: Path, shards: int, videos_per_shard: int) -> None:
    from reeldex.extractors.options import DecodeOptions
    from reeldex.flows.extraction.plan import plan, tasks_for

    store = FeatureStore(root)
    new = [VideoEntry(f"new/{at}.mp4", f"/videos/new/{at}.mp4", 10, 20) for at in range(_NEW_VIDEOS)]
    growth = plan(store, new, [SPACE.name], videos_per_shard, DecodeOptions())
    if (growth.new, growth.gone) != (_NEW_VIDEOS, shards * videos_per_shard) or tasks_for(store, new, [SPACE.name]):
        raise ValueError("The plan is not that of new videos.")


def _spans(root: Path, shards: int, videos_per_shard: int) -> dict[str, Any]:
    store, chance = FeatureStore(root), random.Random(0)  # noqa: S311 - a choice of videos

    def span() -> float:
        name = video_id(chance.randrange(shards), chance.randrange(videos_per_shard))
        started = time.perf_counter()
        if len(store.read_span(SPACE.name, name, 1.0, 2.0)) != 2:
            raise ValueError(f"The span of {name} has another number of rows.")
        return time.perf_counter() - started

    first, others = span(), sorted(span() for _ in range(_SPANS))
    return {
        "first_s": round(first, 4),
        "median_s": round(statistics.median(others), 4),
        "95_percent_s": round(others[int(0.95 * len(others))], 4),
    }


def _shard(root: Path, shards: int, _: int) -> None:
    store = FeatureStore(root)
    store.manifest(shards // 2)
    store.inspect(shards // 2, [SPACE]).pending(())


def _rerun(root: Path, *_: int) -> None:
    from reeldex.flows.extraction.plan import unfinished

    if unfinished(FeatureStore(root)):
        raise ValueError("The store has unfinished shards.")


def _verify(root: Path, *_: int) -> dict[str, Any]:
    from reeldex.storage.verify_sample import Sample

    report = FeatureStore(root).verify(sample=Sample.parse(_SAMPLE))
    return {"shards": report.checked_shards, "sound": report.sound}


def _index_videos(root: Path, *_: int) -> dict[str, Any]:
    from reeldex.search.store_videos import usable_videos

    return {"videos": len(usable_videos(FeatureStore(root), [SPACE.name], None).videos)}


def _ls(root: Path, *_: int) -> None:
    FeatureStore(root).videos()


def _search(root: Path, shards: int, videos_per_shard: int) -> None:
    ids = {video_id(shard, position) for shard in range(shards) for position in range(videos_per_shard)}
    store = FeatureStore(root)
    store.record_searches((store.searches() or Searches()).with_search("/videos", ids, store.searched_ids))


def _dry_run(root: Path, shards: int, videos_per_shard: int) -> dict[str, Any]:
    from reeldex.flows.config.pipeline import PipelineConfig
    from reeldex.flows.extraction.cost import estimate
    from reeldex.flows.extraction.hardware import Hardware
    from reeldex.flows.extraction.prepare import prepare

    listing = root.with_suffix(".csv")
    if not listing.exists():
        rows = (f"/elsewhere/{at:011d}.mp4,{60 + at % 700}.5" for at in range(shards * videos_per_shard))
        listing.write_text("\n".join(["path,seconds", *rows]))
    config = PipelineConfig()
    cost = estimate(
        prepare(str(listing), str(root.with_suffix(".none")), config, only_estimate=True), 0.0, Hardware(150.0, 10)
    )
    return {"rows": cost.videos, "shards": cost.shards, "hours": round(cost.total_seconds / 3600, 1)}


USES: dict[str, Callable[[Path, int, int], dict[str, Any] | None]] = {
    "first status, nothing cached": _status,
    "status": _status,
    "planning of 1,000 new videos": _plan,
    "random spans": _spans,
    "a worker opens a shard": _shard,
    "first plan of a rerun with nothing to do": _rerun,
    "plan of a rerun with nothing to do": _rerun,
    "verify --sample 1%": _verify,
    "dry run of a list": _dry_run,
    "videos to index": _index_videos,
    "ls": _ls,
    "first record of a search": _search,
    "record of the same search": _search,
}


if __name__ == "__main__":
    main()
