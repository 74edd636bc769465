"""The index of many videos: how its build's time and memory grow with them, whatever their length.

python -m benchmarks.index_many_videos FOLDER [--shards 250 500 1000]

Each store is synthetic, of 240 videos a shard with tiny rows of two networks (`benchmarks.million_videos`), and is
made once. Each build runs in a process of its own. Prints JSON: CPU and wall-clock seconds, and the peak memory of the
process, which includes that of Python and the libraries.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.million_videos import WIDTH, make_store, measured
from benchmarks.search_index import write_words
from reeldex.embedding.model import ModelSpec, TextVideoEmbedding
from reeldex.embedding.training.checkpoint import Checkpoint, save_checkpoint
from reeldex.search.build import build_index
from reeldex.search.options import IndexOptions
from reeldex.search.request import IndexRequest
from reeldex.storage.schema import FeatureSpace

VIDEOS_PER_SHARD = 240
_SPACES = tuple(
    FeatureSpace(name, {"weights": "synthetic"}) for name in ("resnet152.synthetic", "resnext101_3d.synthetic")
)
_SPEC = ModelSpec(video_dim=2 * WIDTH, word_dim=8, embed_dim=64)


def main() -> None:
    """Make the stores that are absent, build an index of each, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", type=int, nargs="+", default=[250, 500, 1000])
    parser.add_argument("--build", action="store_true", help="build the index of one store, in this process")
    arguments = parser.parse_args()
    if arguments.build:
        print(json.dumps(measured(lambda: _build(arguments.folder, arguments.shards[0]))))
        return
    for shards in arguments.shards:
        store = _store(arguments.folder, shards)
        if not (store / "complete").exists():
            make_store(store, shards, VIDEOS_PER_SHARD, _SPACES)
            (store / "complete").touch()
        options = ["--shards", str(shards), "--build"]
        command = [sys.executable, "-m", "benchmarks.index_many_videos", str(arguments.folder), *options]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        print(json.dumps({"videos": shards * VIDEOS_PER_SHARD, "load": os.getloadavg(), **json.loads(out)}), flush=True)


def _store(folder: Path, shards: int) -> Path:
    return folder / f"indexed-{shards}x{VIDEOS_PER_SHARD}"


def _build(folder: Path, shards: int) -> dict[str, Any]:
    torch.manual_seed(0)
    checkpoint, out = folder / "embedding.pth", folder / "index"
    save_checkpoint(checkpoint, Checkpoint(_SPEC, TextVideoEmbedding(_SPEC).state_dict()))
    words = write_words(folder / "synthetic.words", 1000, _SPEC.word_dim)
    shutil.rmtree(out, ignore_errors=True)
    options = IndexOptions(device="cpu", recall_sample=20, missing_files="keep")
    report = build_index(IndexRequest(_store(folder, shards), checkpoint, words, out, options=options))
    size = sum(each.stat().st_size for each in out.iterdir())
    return {"moments": report.moments, "index_mib": round(size / 2**20)}


if __name__ == "__main__":
    main()
