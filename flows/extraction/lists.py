"""Lists of videos: .txt, .csv, .tsv and .jsonl files."""

from __future__ import annotations

import codecs
import csv
import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from reeldex.errors import UsageError
from reeldex.flows.extraction.file_names import printable
from reeldex.quantities import clock_seconds
from reeldex.remote_urls import is_url
from reeldex.storage.schema import Span

log = logging.getLogger(__name__)

LIST_SUFFIXES = frozenset((".txt", ".csv", ".tsv", ".jsonl", ".ndjson"))
_PATH_COLUMNS = ("videopath", "path", "file")
_ID_COLUMN, _START_COLUMN, _END_COLUMN = "videoid", "start", "end"
_SECONDS_COLUMN = "seconds"  # of the whole file
_READ_COLUMNS = "video_path, path or file"
_SHOWN_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """A row of a list: its line, the path as written, the id if it has one, the span of a clip, the file's length."""

    line: int
    path: str
    video_id: str | None = None
    span: Span | None = None
    seconds: float | None = None


def read_list(listing: Path | str, content: bytes | None = None) -> list[ListedVideo]:
    r"""Return the rows of a list in its order. Raises UsageError that names the line of what cannot be used.

    `content` is that of a list that is not a file of this machine; `listing` then is its URL.

    A `.txt` list has one path per line. A `.csv` list has a header with the column `video_path`, `path` or `file`, and
    optionally `video_id`, `start` and `end`, and `seconds`, the length of the file, which estimates use. Names of
    columns are compared without case, spaces and underscores. Its separator is a comma, a semicolon or a tab; that of
    `.tsv` is a tab. Each line of a `.jsonl` list is an object with these keys, or a path. Lines end with `\n` or `\r\n`
    alone. Blank lines, and lines that begin with `#`, are not videos.
    """
    suffix = list_suffix(str(listing))
    listing, text = str(listing), _text_of(str(listing), _content_of(Path(listing)) if content is None else content)
    if suffix == ".txt":
        rows = [ListedVideo(number, line) for number, line in _lines(text)]
    elif suffix in {".jsonl", ".ndjson"}:
        rows = list(_json_rows(listing, text))
    else:
        rows = list(_separated_rows(listing, text, "\t" if suffix == ".tsv" else None))
    if not rows:
        if "\r" in text.strip() and "\n" not in text:
            raise UsageError(
                f"The list {str(listing)!r} names no video: its lines end with CR alone, as on old Macs. Save it "
                "with LF or CRLF."
            )
        raise UsageError(f"The list {str(listing)!r} names no video.")
    return rows


def list_suffix(name: str) -> str:
    """Return the ending of a list's path or URL, in lower case."""
    return PurePosixPath(re.split(r"[?#]", name)[0] if is_url(name) else name).suffix.lower()


def _content_of(listing: Path) -> bytes:
    try:
        return listing.read_bytes()
    except OSError as error:
        raise UsageError(f"The list {listing} cannot be read: {error.strerror}.") from error


def _text_of(listing: str, content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    # File names that are not UTF-8 are preserved.
    text = content.decode("utf-8-sig", "surrogateescape")
    if "\0" in text:
        raise UsageError(f"The list {listing} contains NUL characters: it is not a text file in UTF-8.")
    return text


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number and content of each line that is neither blank nor a comment."""
    for number, raw_line in enumerate(text.split("\n"), start=1):
        line = raw_line.removesuffix("\r")
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line


class _RecordLines:
    """The lines of a separated list for the csv module; blank lines and comments between records are left out."""

    def __init__(self, text: str) -> None:
        # The csv module would end a record at a lone carriage return, which may be part of a name.
        self._lines = re.sub(r"\r(?!\n|\Z)", "\0", text).split("\n")
        self.number = 0
        self.between_records = True

    def __iter__(self) -> Iterator[str]:
        for number, line in enumerate(self._lines, start=1):
            if self.between_records and (not line.strip() or line.lstrip().startswith("#")):
                continue
            self.number = number if self.between_records else self.number
            self.between_records = False
            yield line + "\n"

    def first(self) -> str:
        return next((line for line in self._lines if line.strip() and not line.lstrip().startswith("#")), "")


def _separated_rows(listing: str, text: str, separator: str | None) -> Iterator[ListedVideo]:
    lines = _RecordLines(text)
    separator = separator or _separator(lines.first())
    reader = csv.reader(iter(lines), delimiter=separator, skipinitialspace=True, strict=True)
    columns: Sequence[str] = []
    try:
        for fields in reader:
            line, lines.between_records = lines.number, True
            values = [field.replace("\0", "\r") for field in fields]
            if not columns:
                columns = _columns(listing, values)
                continue
            if any(field.strip() for field in values[len(columns) :]):
                raise UsageError(
                    f"{listing}, line {line}: {len(values)} fields, while the header names {len(columns)} "
                    f"{'column' if len(columns) == 1 else 'columns'}. Put a path that contains {separator!r} in double "
                    "quotes."
                )
            yield _listed(listing, line, dict(zip(columns, values, strict=False)))
    except csv.Error as error:
        raise UsageError(f"{listing}, line {lines.number}: not valid CSV: {error}.") from error


def _separator(header: str) -> str:
    """Return the separator with which a header has a column for paths; a comma if none."""
    return next(
        (each for each in ",;\t" if any(_plain(name) in _PATH_COLUMNS for name in header.split(each))),
        ",",
    )


def _columns(listing: str, names: Sequence[str]) -> list[str]:
    columns = [_plain(name) for name in names]
    if not set(columns) & set(_PATH_COLUMNS):
        shown = ", ".join(_shown(name.strip()) for name in names[:10])
        raise UsageError(
            f"The list {listing} has no column {_READ_COLUMNS}; its first line has: {shown}. Name the columns in the "
            "first line, or use a .txt list, which is one path per line."
        )
    for name in (*_PATH_COLUMNS, _ID_COLUMN, _START_COLUMN, _END_COLUMN, _SECONDS_COLUMN):
        if columns.count(name) > 1:
            raise UsageError(f"The list {listing} has {columns.count(name)} columns named {name}; keep one of them.")
    if "id" in columns and _ID_COLUMN not in columns:
        log.warning("%s: the column id is not read; ids are in a column video_id", listing)
    return columns


def _plain(name: str) -> str:
    """Return a column's name as it is compared."""
    return re.sub(r"[\s_\-\ufeff\"]", "", name).casefold()


def _json_rows(listing: str, text: str) -> Iterator[ListedVideo]:
    for line, content in _lines(text):
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{listing}, line {line}: not valid JSON: {error}.") from error
        if isinstance(value, str):
            value = {"path": value}
        if not isinstance(value, dict):
            raise UsageError(f"{listing}, line {line}: expected an object with the key {_READ_COLUMNS}, or a path.")
        known = {_plain(key): each for key, each in value.items() if each is not None}
        yield _listed(listing, line, {key: _json_text(listing, line, key, each) for key, each in known.items()})


def _json_text(listing: str, line: int, key: str, value: Any) -> str:  # noqa: ANN401 - any JSON value
    if key not in {*_PATH_COLUMNS, _ID_COLUMN, _START_COLUMN, _END_COLUMN, _SECONDS_COLUMN}:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or key in _PATH_COLUMNS:
        raise UsageError(f"{listing}, line {line}: {key} cannot be {json.dumps(value)[:_SHOWN_CHARACTERS]}.")
    return str(value)


def _listed(listing: str, line: int, row: Mapping[str, str]) -> ListedVideo:
    column = next((name for name in _PATH_COLUMNS if name in row), None)
    if column is None or not row[column].strip():
        raise UsageError(f"{listing}, line {line}: there is no path (column {_READ_COLUMNS}).")
    where = f"{listing}, line {line}"
    start, end = (_seconds(where, row.get(name, ""), name) for name in (_START_COLUMN, _END_COLUMN))
    span = None
    if start or end is not None:  # from 0 to the file's end is the whole file
        try:
            span = Span(start or 0.0, end)
        except ValueError as error:
            raise UsageError(f"{where}: {error}.") from error
    seconds = _length(where, row.get(_SECONDS_COLUMN, ""))
    return ListedVideo(line, row[column], row.get(_ID_COLUMN, "").strip() or None, span, seconds)


def _length(where: str, text: str) -> float | None:
    """Return the length of a file; None where it is not known. Raises UsageError."""
    seconds = _seconds(where, text, _SECONDS_COLUMN)
    if seconds is not None and seconds < 0:
        raise UsageError(f"{where}: the column {_SECONDS_COLUMN} is {_shown(text)}; a video is not shorter than 0 s.")
    return seconds or None


def _seconds(where: str, text: str, column: str) -> float | None:
    """Return a time in seconds, from `12.5`, `1:02` or `1:02:03.5`; None for an empty field."""
    text = text.strip()
    if not text:
        return None
    if (clock := clock_seconds(text)) is not None:
        return clock
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise UsageError(
            f"{where}: the column {column} is {_shown(text)}, which is not a time: give seconds, mm:ss or hh:mm:ss."
        )
    return seconds


def _shown(text: str) -> str:
    cut = printable(text)
    return repr(cut if len(cut) <= _SHOWN_CHARACTERS else cut[:_SHOWN_CHARACTERS] + "...")
