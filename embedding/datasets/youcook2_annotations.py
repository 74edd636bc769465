"""YouCook2's annotations: the official JSON of both splits, or a table of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from reeldex.embedding.datasets.rows import Row
from reeldex.embedding.datasets.tables import read_table
from reeldex.embedding.datasets.text_files import read_json
from reeldex.embedding.errors import DatasetError, RowError, listed, quoted

_SUBSETS = {"train": "training", "test": "validation"}


def annotation_rows(path: Path, split: str) -> list[Row]:
    """Return the steps of a split (`train`, or `test`: the validation split) with video_id, start, end and text.

    A file named .json is the official one, any other a table with these columns. Raises DatasetError.
    """
    if path.suffix.lower() != ".json":
        return read_table(path, ["video_id", "start", "end", "text"])
    held = read_json(path)
    videos = held.get("database") if isinstance(held, dict) else None
    if not isinstance(videos, dict):
        raise DatasetError(
            f"{path} must map video ids to their annotations under 'database', as the official file does."
        )
    rows = list(_rows(path, videos, _SUBSETS[split]))
    if not rows:
        subsets = sorted({str(each.get("subset")) for each in videos.values() if isinstance(each, dict)})
        raise DatasetError(
            f"{path} has no annotations of the subset {_SUBSETS[split]!r}; its subsets are: {listed(subsets)}."
        )
    return rows


def _rows(path: Path, videos: Mapping[object, object], subset: str) -> Iterator[Row]:
    for video_id, video in videos.items():
        steps = video.get("annotations") if isinstance(video, dict) else None
        if not isinstance(video, dict):
            raise DatasetError(f"{path}: the video {quoted(video_id)} is {quoted(video)}, not its annotations.")
        if video.get("subset") != subset:
            continue
        if not isinstance(steps, list):
            lacking = RowError(f"{path}: the video {quoted(video_id)}", "it has no list under 'annotations'")
            yield Row(path, 0, {"video_id": lacking})
            continue
        for number, step in enumerate(steps):
            yield Row(path, 0, _values(video_id, step), f"annotation {number} of {quoted(video_id)}")


def _values(video_id: object, step: object) -> dict[str, object]:
    if not isinstance(step, dict):
        return {"video_id": video_id}
    segment = step.get("segment")
    start, end = segment if isinstance(segment, list) and len(segment) == 2 else (None, None)
    text = {"text": step["sentence"]} if "sentence" in step else {}
    return {"video_id": video_id, "start": start, "end": end, **text}
