"""Opening HowTo100M's captions and list of videos: first and later openings, with time and peak memory.

    python -m benchmarks.howto100m_opening --videos 1200000 --format json

Captions and videos are synthetic, in the published formats: 113 captions per video on average, together about as long
as the published ones (4.6 GB of JSON for 1.2 million videos). The first opening converts the captions to the cache,
later ones map it. Each opening is a process of its own; it includes the list of videos, the check of every video, and
at the end the captions of 1,000 random videos. Features are not included: all videos count as extracted. Needs twice
the size of the captions on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from reeldex.embedding.caption_files import open_captions
from reeldex.embedding.datasets.howto100m import Howto100mTrainingSet, read_videos, training_set
from reeldex.embedding.datasets.howto100m_options import Howto100mOptions
from reeldex.embedding.features import VideoRows
from reeldex.storage.schema import JSON

_WORDS = (
    "add",
    "stir",
    "chop",
    "onion",
    "pan",
    "oil",
    "water",
    "flour",
    "cup",
    "heat",
    "mix",
    "bowl",
    "slice",
    "garlic",
)
_MEAN_CAPTIONS = 113


class _Everything:
    """Features of which every video has some; none are read."""

    stream_dims = (2048, 2048)

    def problem(self, video_id: str) -> str | None:  # noqa: ARG002 - as a FeatureSource has it
        return None

    def video(self, stream: int, video_id: str) -> VideoRows:
        raise AssertionError((stream, video_id))

    def fingerprints(self) -> dict[str, JSON]:
        return {}


def make_files(folder: Path, videos: int, suffix: str) -> None:
    """Write the list of videos and their captions."""
    draw = random.Random(0)  # noqa: S311
    phrases = [" ".join(draw.choices(_WORDS, k=draw.randint(1, 5))) for _ in range(4000)]
    with (folder / "videos.csv").open("w") as table, (folder / f"captions.{suffix}").open("w") as captions:
        table.write("video_id,category_1,category_2,rank,task_id\n")
        captions.write("{" if suffix == "json" else "video_id,start,end,text\n")
        for video in range(videos):
            video_id = f"v{video:010d}"
            table.write(f"{video_id},Food and Entertaining,Recipes,{video % 200 + 1},{video // 200}\n")
            _write_captions(captions, draw, phrases, video_id, first=not video)
        captions.write("}" if suffix == "json" else "")


def _write_captions(file: IO[str], draw: random.Random, phrases: list[str], video_id: str, *, first: bool) -> None:
    count = draw.randint(1, 2 * _MEAN_CAPTIONS - 1)
    starts = [round(at * 3.31, 2) for at in range(count)]
    ends = [round(start + 4.07, 2) for start in starts]
    texts = draw.choices(phrases, k=count)
    if file.name.endswith(".csv"):
        file.writelines(f"{video_id},{row[0]},{row[1]},{row[2]}\n" for row in zip(starts, ends, texts, strict=True))
        return
    entry = json.dumps({"start": starts, "end": ends, "text": texts})
    file.write(f'{"" if first else ", "}"{video_id}": {entry}')


def open_once(folder: Path, suffix: str) -> None:
    """Open the training set as a training does, and print time and peak memory."""
    started = time.monotonic()
    options = Howto100mOptions(captions=folder / f"captions.{suffix}", captions_cache=folder / "cache")
    captions = open_captions(folder / f"captions.{suffix}", folder / "cache")
    samples = training_set(options, read_videos(folder / "videos.csv", None), captions, _Everything())
    seconds = time.monotonic() - started
    spoken = _read_some(samples)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{len(samples):,} videos, {seconds:.1f} s, peak memory {peak / 1e9:.2f} GB, {spoken:,} captions read")


def _read_some(samples: Howto100mTrainingSet) -> int:
    chosen = random.Random(1).choices(samples.video_ids, k=1000)  # noqa: S311
    return sum(len(samples.captions.captions(video_id)) for video_id in chosen)


def main() -> None:
    """Create the files, open three times and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1_200_000)
    parser.add_argument("--format", choices=("json", "csv"), default="json")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.open:
        open_once(given.open, given.format)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder, given.videos, given.format)
        size = (folder / f"captions.{given.format}").stat().st_size
        print(f"{size / 1e9:.2f} GB of captions in {given.format}", flush=True)
        for opening in ("first", "second", "third"):
            load = os.getloadavg()[0]
            command = [sys.executable, "-m", __spec__.name, "--open", name, "--format", given.format]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
            print(f"{opening:6} opening: {said} (load {load:.1f})", flush=True)
        cache = sum(each.stat().st_size for each in (folder / "cache").iterdir())
        print(f"{cache / 1e9:.2f} GB of cache")


if __name__ == "__main__":
    main()
