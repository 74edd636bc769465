"""The overhead of Prefect: start-up to the first shard, each shard without extraction, and runs of many shards.

The videos of the list do not exist, so that each ends as `missing` and nothing is decoded or computed: the rest is
planning, the worker process, the store, and Prefect with its server on SQLite, as `reeldex up` runs them.
"Extraction" is then the recording of a shard's failures, "overhead" everything else.

    python -m benchmarks.prefect_overhead --shards 2000 --videos-per-shard 50
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from reeldex.storage.store import FeatureStore
from tests.system.running import ReeldexUp


def main() -> None:
    """Measure in a temporary folder and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=2000)
    parser.add_argument("--videos-per-shard", type=int, default=50)
    arguments = parser.parse_args()
    pipeline = f"""
extract: {{weights: random, extractors: [resnet152], shard_videos: {arguments.videos_per_shard}}}
compute: {{device: cpu}}
"""
    with tempfile.TemporaryDirectory() as folder:
        up = ReeldexUp(Path(folder), pipeline)
        started = time.monotonic()
        up.start()
        print(f"reeldex up, a new database: {time.monotonic() - started:.1f} s")
        try:
            _measure(up, arguments.shards, arguments.videos_per_shard)
        finally:
            up.stop()


def _measure(up: ReeldexUp, shards: int, videos_per_shard: int) -> None:
    names = "".join(f"absent/{number:07d}.mp4\n" for number in range(shards * videos_per_shard))
    (up.folder / "list.txt").write_text(names, encoding="utf-8")
    for shown in ("first run", "the same again"):
        launched = time.time()
        run_id = up.launch("extract/extract", source="list.txt", store="store")
        state = up.ended(run_id, seconds=4 * 3600)
        if state["type"] != "COMPLETED":
            raise RuntimeError(f"The run ended as {state['name']}: {state['message']}\n{up.said()}")
        run = up.run(run_id)
        begun, ended = _seconds(run["start_time"]), _seconds(run["end_time"])
        print(f"\n{shown}: {state['name']}")
        print(f"  submission to Running            {begun - launched:8.1f} s")
        tasks = up.api(
            "/task_runs/filter",
            {
                "flow_runs": {"id": {"any_": [run_id]}},
                "task_runs": {"name": {"like_": "shard-00000"}},
                "sort": "EXPECTED_START_TIME_ASC",
            },
        )
        if tasks:
            print(f"  Running to the first shard       {_seconds(tasks[0]['start_time']) - begun:8.1f} s")
            work = FeatureStore(up.folder / "store").status().seconds_of_work
            over = (ended - _seconds(tasks[0]["start_time"]) - work) / shards
            print(f"  shards, sequentially             {ended - _seconds(tasks[0]['start_time']):8.1f} s")
            print(f"  extraction per shard             {1000 * work / shards:8.1f} ms")
            print(f"  overhead per shard               {1000 * over:8.1f} ms")
        else:
            print(f"  Running to the end               {ended - begun:8.1f} s")
        _print_artifacts(up, run_id)
    database = up.folder / "state" / "reeldex" / "prefect" / "prefect.db"
    print(f"\nthe server's database: {database.stat().st_size / 2**20:.1f} MiB")


def _print_artifacts(up: ReeldexUp, run_id: str) -> None:
    for key, artifact in sorted(up.artifacts(run_id).items()):
        started = time.monotonic()
        size = len(json.dumps(up.api(f"/artifacts/{artifact['id']}")["data"]))
        print(f"  artifact {key:22}  {size / 1024:8.1f} KiB, fetched in {1000 * (time.monotonic() - started):.0f} ms")


def _seconds(timestamp: Any) -> float:  # noqa: ANN401 - JSON
    return datetime.fromisoformat(timestamp).timestamp()


if __name__ == "__main__":
    main()
