"""Reads lists of videos: one id per line, or the column of a table."""

from __future__ import annotations

import difflib
import logging
from pathlib import Path

from reeldex.embedding.datasets.rows import Row, UsableRows, usable_rows
from reeldex.embedding.datasets.tables import SEPARATED, read_table
from reeldex.embedding.datasets.text_files import text_lines
from reeldex.embedding.errors import quoted

log = logging.getLogger(__name__)

ID = "video_id"
"""The column of ids."""

# First lines of lists that are no ids.
_HEADERS = frozenset(
    {ID, "id", "ids", "video", "videos", "vid", "video_name", "filename", "file", "path", "name", "key"}
)
_MISSPELT = 0.8


def read_id_list(path: Path) -> UsableRows[str] | None:
    """Read a list with one id per line; None when the file is a table.

    A first line that names the column is skipped; quotation marks around an id are not part of it.
    """
    lines = [(number, _unquoted(line.strip())) for number, line in enumerate(text_lines(path), start=1) if line.strip()]
    if not lines or any(separator in line for _, line in lines for separator in SEPARATED):
        return None
    first = lines[0][1].lower()
    if first.replace(" ", "_") in _HEADERS:
        log.info("%s: its first line, %s, is taken as the name of the column", path, quoted(lines[0][1]))
        del lines[0]
    elif difflib.SequenceMatcher(a=first, b=ID).ratio() > _MISSPELT:
        return None  # a table with a misspelt column, rather than an id
    rows = (Row(path, number, {ID: line}) for number, line in lines)
    return usable_rows(path, rows, lambda row: row.text(ID))


def read_ids(path: Path) -> UsableRows[str]:
    """Read the ids of such a list, or the column video_id of a table; rows without an id are left out and logged."""
    ids = read_id_list(path)
    return usable_rows(path, read_table(path, [ID]), lambda row: row.text(ID)) if ids is None else ids


def _unquoted(line: str) -> str:
    for mark in "\"'":
        if len(line) > 2 and line[0] == line[-1] == mark:
            return line[1:-1].strip()
    return line
