"""CrossTask's files for small synthetic videos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from reeldex.embedding.datasets.crosstask_options import CrosstaskOptions
from tests.embedding.feature_files import make_store, rows_of

TASKS = {"105222": ("a", "b it's", "c"), "16815": ("d", "c a"), "999": ("b",)}
SECONDS = {"-one": 12, "two_2": 9, "three": 20, "four": 7, "five": 15, "val": 11}
LISTED = [
    ("105222", "-one"), ("105222", "two_2"), ("16815", "three"), ("16815", "four"), ("999", "five"), ("105222", "val"),
    ("7777", "elsewhere"), ("999", "bare"),
]  # fmt: skip


def write_crosstask(folder: Path, tasks: Mapping[str, tuple[str, ...]] = TASKS) -> CrosstaskOptions:
    """Write tasks, videos, random annotations and a store of features; "bare" has no annotations."""
    blocks = [
        f"{task}\nTask {task}\nhttps://example.org/{task}\n{len(steps)}\n{','.join(steps)}\n\n"
        for task, steps in tasks.items()
    ]
    (folder / "tasks_primary.txt").write_text("".join(blocks))
    (folder / "videos.csv").write_text("".join(f"{task},{video},https://example.org\n" for task, video in LISTED))
    (folder / "videos_val.csv").write_text("105222,val,https://example.org\n")
    (folder / "annotations").mkdir()
    generator = np.random.default_rng(3)
    for task, video in LISTED[:6]:
        rows = []
        for step in generator.integers(1, len(tasks[task]) + 1, 4):
            start = generator.uniform(0, SECONDS[video])
            rows.append(f"{step},{start:.2f},{start + generator.uniform(0, 3):.2f}\n")
        (folder / "annotations" / f"{task}_{video}.csv").write_text("".join(rows))
    make_store(folder, {video: rows_of(video, seconds) for video, seconds in SECONDS.items()})
    return crosstask_options(folder)


def crosstask_options(folder: Path) -> CrosstaskOptions:
    """Return the options of the files that `write_crosstask` has written there."""
    return CrosstaskOptions.published(folder).replaced(features={"store": folder / "store"})
