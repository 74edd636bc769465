"""A small data set in MSR-VTT's files beside a store of features, for the commands that train and evaluate."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from tests.embedding.feature_files import Rows, make_store, rows_of

KINDS = ("red", "green", "blue", "round", "square", "striped")
TRAIN = ("--embed-dim", 16, "--word-dim", 8, "--batch-size", 4, "--learning-rate", 0.01, "--device", "cpu")


def rows_of_kind(kind: str, number: int) -> tuple[Rows, Rows]:
    """The rows of the kind, and a little noise of the video's own."""
    noise = rows_of(f"{kind}{number}", seconds=4)
    streams = [
        (own + np.float16(0.1) * other).astype(np.float16)
        for own, other in zip(rows_of(kind, seconds=4), noise, strict=True)
    ]
    return streams[0], streams[1]


def make_captioned(folder: Path, per_kind: int = 3) -> Path:
    """Make `folder`/store and the files of MSR-VTT in `folder`; the last video of each kind is tested on."""
    videos = {f"{kind}{number}": rows_of_kind(kind, number) for kind in KINDS for number in range(per_kind)}
    make_store(folder, videos)
    trained = [video for video in videos if not video.endswith(str(per_kind - 1))]
    sentences = [{"video_id": video, "caption": f"the {video[:-1]} one"} for video in trained]
    (folder / "MSRVTT_data.json").write_text(json.dumps({"sentences": sentences}), encoding="utf-8")
    write_rows(folder / "MSRVTT_train.csv", [["video_id"], *([video] for video in trained)])
    tested = [[video, f"the {video[:-1]} one"] for video in videos if video not in trained]
    write_rows(folder / "MSRVTT_JSFUSION_test.csv", [["video_id", "sentence"], *tested])
    return folder


def data_of(folder: Path) -> tuple[object, ...]:
    """Return the options that name what `make_captioned` made."""
    return ("--dataset", "msrvtt", "--store", folder / "store", "--data", folder)


def own_words(folder: Path) -> tuple[object, ...]:
    """Return the options that have word vectors learnt, with a cache of the test's own."""
    return ("--train-word-vectors", "--word-cache", folder / "cache")


def write_rows(path: Path, rows: list[list[str]]) -> None:
    """Write a csv file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
