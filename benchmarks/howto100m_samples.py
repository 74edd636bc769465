"""(video, 64 captions) samples per second: reeldex's HowTo100M reader against loading whole .npy files.

python -m benchmarks.howto100m_samples [--videos 300] [--minutes 6.5] [--captions 64] [--rounds 1]

The published method loads both .npy files of a video into memory as float32, then computes for each caption its window,
the maximum over the window's rows and the norm. All methods get the same captions of the same features, in one process
with one thread, and their results are compared. Word vectors are not included. The features were just written and fit
into the page cache, so that no method waits for the disk.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reeldex.embedding.datasets.feature_options import FeatureLocation
from reeldex.embedding.datasets.howto100m import Howto100mTrainingSet, open_training
from reeldex.embedding.datasets.howto100m_options import Howto100mOptions
from reeldex.storage.npy_import import import_npy
from reeldex.storage.store import FeatureStore

DIMENSIONS = 2048
ROWS_PER_SECOND = {"resnet152.synthetic": 1.0, "resnext101_3d.synthetic": 1.5}
MIN_SECONDS = 5.0

Captions = dict[str, NDArray[Any]]
Sample = tuple[NDArray[np.float32], list[str]]


@dataclass(frozen=True)
class Size:
    """Size of the data: videos of `minutes`, and captions drawn from each."""

    videos: int
    minutes: float
    captions: int


def make_features(folder: Path, size: Size) -> dict[str, Captions]:
    """Write rectified, L2-normalised float16 rows of each video, and return captions of about 3.5 seconds for them."""
    generator = np.random.default_rng(0)
    seconds = size.minutes * 60
    spoken: dict[str, Captions] = {}
    words = [f"word{at}" for at in range(500)]
    for space, rate in ROWS_PER_SECOND.items():
        (folder / space).mkdir(parents=True)
        for video in range(size.videos):
            rows = np.maximum(generator.normal(size=(int(seconds * rate), DIMENSIONS)).astype(np.float32), 0)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            np.save(folder / space / f"video{video:05d}.npy", rows.astype(np.float16))
    for video in range(size.videos):
        starts = np.sort(generator.uniform(0, seconds - 8, size=int(seconds / 3.5)))
        ends = starts + generator.uniform(2, 6, size=len(starts))
        texts = [" ".join(generator.choice(words, size=4)) for _ in starts]
        spoken[f"video{video:05d}"] = {"start": starts, "end": ends, "text": np.array(texts)}
    (folder / "videos.csv").write_text("video_id\n" + "".join(f"{video_id}\n" for video_id in spoken))
    (folder / "captions.json").write_text(json.dumps(spoken, default=np.ndarray.tolist))
    return spoken


def published_window(captions: Captions, at: int) -> tuple[float, float, list[str]]:
    """Extend one caption to 5 seconds, as the published loader does: with arrays, words of both sides at each step."""
    first = last = at
    words = re.findall(r"[\w']+", str(captions["text"][at]))
    starts, ends = captions["start"], captions["end"]
    while ends[last] - starts[first] < MIN_SECONDS:
        earlier, later = first > 0, last < len(ends) - 1
        if not (earlier or later):
            break
        before = re.findall(r"[\w']+", str(captions["text"][first - 1])) if earlier else []
        after = re.findall(r"[\w']+", str(captions["text"][last + 1])) if later else []
        if earlier and (not later or ends[last] - starts[first - 1] <= ends[last + 1] - starts[first]):
            first -= 1
            words += before
        else:
            last += 1
            words += after
    return float(starts[first]), float(ends[last]), words


def published_method(folder: Path, spoken: dict[str, Captions], video_id: str, chosen: list[int]) -> Sample:
    """Load both files of a video completely and pool the windows of these captions."""
    windows = [published_window(spoken[video_id], at) for at in chosen]
    streams = []
    for space, rate in ROWS_PER_SECOND.items():
        rows = torch.from_numpy(np.load(folder / space / f"{video_id}.npy")).float()
        pooled = torch.zeros(len(chosen), rows.shape[1])
        for at, (start, end, _) in enumerate(windows):
            span = rows[int(start * rate) : int(end * rate) + 1]
            if len(span):
                pooled[at] = torch.nn.functional.normalize(span.max(dim=0)[0], dim=0)
        streams.append(pooled)
    return torch.cat(streams, dim=1).numpy(), [" ".join(words) for _, _, words in windows]


def reader_method(training: Howto100mTrainingSet, index: int, chosen: list[int]) -> Sample:
    """Return the same windows from reeldex's reader."""
    sample = training.windows(index, chosen)
    return sample.video, list(sample.captions)


def samples_per_second(give: Callable[[int], Sample], count: int, rounds: int) -> float:
    """Time `rounds` passes over all samples after a first, untimed one."""
    for index in range(count):
        give(index)
    started = time.perf_counter()
    for _ in range(rounds):
        for index in range(count):
            give(index)
    return count * rounds / (time.perf_counter() - started)


def measure(folder: Path, size: Size, rounds: int) -> dict[str, float]:
    """Create the features, load the same samples with every method, compare and time them."""
    spoken = make_features(folder / "npy", size)
    store = FeatureStore(folder / "store", create=True)
    with store.lock():
        seconds_per_row = {space: 1 / rate for space, rate in ROWS_PER_SECOND.items()}
        import_npy(folder / "npy", store, seconds_per_row=seconds_per_row)
    two_d, three_d = ROWS_PER_SECOND
    locations = {
        "reader_npy": FeatureLocation(folder_2d=folder / "npy" / two_d, folder_3d=folder / "npy" / three_d),
        "reader_store": FeatureLocation(store=store.path, space_2d=two_d, space_3d=three_d),
    }
    ids = list(spoken)
    generator = np.random.default_rng(1)
    chosen = [generator.integers(len(spoken[video_id]["text"]), size=size.captions).tolist() for video_id in ids]
    ways: dict[str, Callable[[int], Sample]] = {
        "published_method": lambda index: published_method(folder / "npy", spoken, ids[index], chosen[index])
    }
    for name, location in locations.items():
        training = open_training(
            Howto100mOptions(
                csv=folder / "npy" / "videos.csv",
                captions=folder / "npy" / "captions.json",
                features=location,
                min_seconds=MIN_SECONDS,
                n_pair=size.captions,
            )
        )
        ways[name] = lambda index, training=training: reader_method(training, index, chosen[index])  # type: ignore[misc]
    expected, texts = ways["published_method"](0)
    for way in ways.values():
        found, found_texts = way(0)
        assert found_texts == texts
        assert np.abs(found - expected).max() < 1e-6
    speeds = {name: samples_per_second(way, len(ids), rounds) for name, way in ways.items()}
    answer = {f"{name}_samples_per_second": round(speed, 1) for name, speed in speeds.items()}
    for name in locations:
        answer[f"{name}_ratio"] = round(speeds[name] / speeds["published_method"], 2)
    return answer


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=6.5)
    parser.add_argument("--captions", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    size = Size(given.videos, given.minutes, given.captions)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        answer = measure(Path(folder), size, given.rounds)
    print(json.dumps({"videos": size.videos, "minutes": size.minutes, "captions": size.captions, **answer}, indent=2))


if __name__ == "__main__":
    main()
