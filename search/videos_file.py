"""The file of an index's videos: a JSON object with the names of the fields, then a row per video."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from reeldex.embedding.json_stream import JsonObject
from reeldex.search.errors import IndexDamagedError
from reeldex.search.generation import REMEDY, Generation, readable
from reeldex.search.video_records import VideoRecord, VideoRecords
from reeldex.storage.atomic import publish
from reeldex.storage.json_codec import row_reader


def videos_file(number: int) -> str:
    """Return the file name of the videos of a generation."""
    return f"videos-{number:05d}.json"


def write_videos(folder: Path, number: int, records: VideoRecords) -> None:
    """Publish the videos of a generation, written one after the other."""
    names = list(VideoRecords.fields)
    encoder = json.JSONEncoder(allow_nan=False)
    with (
        publish(folder / videos_file(number)) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.write(f'{{"fields": {encoder.encode(names)}, "videos": [')
        for at, row in enumerate(records.rows()):
            file.write((", " if at else "") + encoder.encode(row))
        file.write("]}")


def read_videos(folder: Path, generation: Generation) -> VideoRecords:
    """Return the videos of a generation, in the order of their moments' ids; raises IndexDamagedError."""
    path = folder / videos_file(generation.number)
    with readable(path), path.open(encoding="utf-8") as file:
        try:
            records = _records(file)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            # Not its repr, which for undecodable bytes contains the whole file.
            why = f"{type(error).__name__}: {error}"
            raise IndexDamagedError(f"{path} does not hold the videos of an index ({why}). {REMEDY}") from error
    if (len(records), sum(records.numbers("moments").tolist())) != (generation.videos, generation.moments):
        raise IndexDamagedError(f"{path} does not hold the {generation.videos} videos of the index. {REMEDY}")
    first_ids = records.numbers("first_id")
    if (np.diff(first_ids) < 0).any():
        return VideoRecords(records.chosen(np.argsort(first_ids, kind="stable")))
    return records


def _records(file: TextIO) -> VideoRecords:
    content, found = JsonObject(file), VideoRecords()
    names: Any = None
    for name in content.names():
        if name == "fields":
            names = content.value()
        elif name == "videos":
            read = row_reader(VideoRecord, names)
            for row in content.elements():
                found.append_row(read(row))
        else:
            content.value()
    return found
