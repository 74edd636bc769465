"""Strict reading of text tables: errors name file, line and column."""

from __future__ import annotations

import csv
import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from numbers import Real
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from reeldex.embedding.datasets.cells import seconds_of, text_of
from reeldex.embedding.errors import DatasetError, RowError, listed, quoted, require_file

if TYPE_CHECKING:
    from _csv import Reader

_CLASSES = re.compile(r"\[\s*(\d+\s*(,\s*\d+\s*)*)?\]")
_LARGEST_FIELD_BYTES = 10_000_000
_SEPARATED = {",": "comma-separated", ";": "semicolon-separated", "\t": "tab-separated"}
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_NO_ALIASES: Mapping[str, Sequence[str]] = MappingProxyType({})
# First lines of tables of one column that are no ids.
_HEADERS = frozenset({"id", "ids", "video", "videos", "vid", "video_name", "filename", "file", "path", "name", "key"})


@dataclass(frozen=True)
class Row:
    """One row of a table; `line` is the line of the file it ends on, counted from 1.

    Of a row of JSON, `place` says where it is, instead of the line. The value of a column that the row lacks is the
    error to raise when it is asked for.
    """

    path: Path
    line: int
    values: Mapping[str, object]
    place: str = ""

    def text(self, column: str) -> str:
        """Return a text, without surrounding space; raises RowError when there is none, as for null and NaN."""
        value = self._value(column)
        text = text_of(value)
        if text is None:
            missing = value is None or (isinstance(value, str | Real) and not isinstance(value, bool))
            raise self.fault(column, "it is empty" if missing else f"it is a {type(value).__name__}, not a text")
        return text

    def integer(self, column: str) -> int:
        """Return a whole number that is not negative; raises DatasetError."""
        text = self.text(column)
        if not text.isdecimal():
            raise self.refusal(column, f"{quoted(text)} is not a whole number")
        return int(text)

    def seconds(self, column: str) -> float:
        """Return seconds, written as a number, minutes:seconds or hours:minutes:seconds; raises RowError."""
        value = self._value(column)
        seconds = seconds_of(value)
        if seconds is None:
            raise self.fault(column, f"{quoted(value)} is neither a time in seconds nor hours:minutes:seconds")
        return seconds

    def span(self, start_column: str, end_column: str) -> tuple[float, float]:
        """Return (start, end) in seconds; raises RowError when it ends before it starts."""
        start, end = self.seconds(start_column), self.seconds(end_column)
        if end < start:
            raise self.fault(end_column, f"it ends at {end} seconds, before its start at {start}")
        return start, end

    def classes(self, column: str) -> frozenset[int]:
        """Return the numbers of a list such as `[2, 15]`; raises DatasetError for anything else or an empty one."""
        text = self.text(column)
        if not _CLASSES.fullmatch(text):
            raise self.refusal(column, f"{quoted(text)} is not a list of classes such as [2, 15]")
        numbers = frozenset(int(number) for number in re.findall(r"\d+", text))
        if not numbers:
            raise self.refusal(column, "it names no class")
        return numbers

    def refusal(self, column: str, why: str) -> DatasetError:
        """Return an error that locates a fault in this row."""
        return DatasetError(f"{self._place(column)}: {why}.")

    def fault(self, column: str, why: str) -> RowError:
        """Return an error that locates a fault for which this row alone can be left out."""
        return RowError(self._place(column), why)

    def _place(self, column: str) -> str:
        return f"{self.path}{f': {self.place}' if self.place else f', line {self.line}'}, column {column!r}"

    def _value(self, column: str) -> object:
        if column not in self.values:
            raise self.fault(column, "it is missing")
        value = self.values[column]
        if isinstance(value, RowError):
            raise value
        return value


def read_table(
    path: Path, columns: Sequence[str], optional: Sequence[str] = (), aliases: Mapping[str, Sequence[str]] = _NO_ALIASES
) -> list[Row]:
    """Read a table whose first line names its columns, in any case; further columns are ignored.

    Separated by commas, or by semicolons or tabs if only then the columns are there. `aliases` are other names of
    columns. Raises DatasetError as `stream_table` does.
    """
    return list(stream_table(path, columns, optional, aliases))


def stream_table(
    path: Path, columns: Sequence[str], optional: Sequence[str] = (), aliases: Mapping[str, Sequence[str]] = _NO_ALIASES
) -> Iterator[Row]:
    """Yield the rows of such a table one by one, in bounded memory.

    Raises DatasetError when the file or a column is absent or a column is named twice, for a row of another length
    than the first, and for a quotation mark that is not closed.
    """
    csv.field_size_limit(_LARGEST_FIELD_BYTES)
    content = _table_lines(path)
    first = next(content, "")
    delimiter = _delimiter(first, columns, aliases)
    # Strict, because an unclosed quotation would otherwise absorb all following rows.
    lines = csv.reader(chain([first], content), delimiter=delimiter, strict=True)
    try:
        yield from _rows(path, lines, columns, optional, aliases)
    except csv.Error as error:
        raise DatasetError(
            f"{path}, line {lines.line_num}: it cannot be read as {_SEPARATED[delimiter]} text: {error}. Quote texts "
            f"that hold {_SEPARATORS[delimiter]}, and write quotation marks within them twice."
        ) from error


def _delimiter(first: str, columns: Sequence[str], aliases: Mapping[str, Sequence[str]]) -> str:
    """Return what separates the columns of a first line."""
    for delimiter in _SEPARATED:
        with suppress(csv.Error):
            names = _named(next(csv.reader([first], delimiter=delimiter), []), columns, aliases)
            if set(columns) <= set(names):
                return delimiter
    return ","


def _named(header: Sequence[str], columns: Sequence[str], aliases: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names of a header; a name that means one of these columns is replaced by it."""
    names = [name.strip() for name in header]
    lowered = [name.lower() for name in names]
    for column in columns:
        for meant in (column, *aliases.get(column, ())):
            if column not in names and meant in lowered:
                names = [column if low == meant else name for name, low in zip(names, lowered, strict=True)]
    return names


def _rows(
    path: Path,
    lines: Reader,
    columns: Sequence[str],
    optional: Sequence[str],
    aliases: Mapping[str, Sequence[str]],
) -> Iterator[Row]:
    header = next(lines, None)
    if not header:
        raise DatasetError(f"{path} is empty; its first line must name the columns {', '.join(columns)}.")
    names = _named(header, (*columns, *optional), aliases)
    for column in columns:
        if column not in names:
            near = difflib.get_close_matches(column, names, n=1)
            hint = f" Did you mean {quoted(near[0])} there?" if near else ""
            raise DatasetError(
                f"{path} has no column {column!r}.{hint} Its columns are: {listed(names)}; needed are: "
                f"{', '.join(columns)}."
            )
    for column in (*columns, *optional):
        if names.count(column) > 1:
            raise DatasetError(f"{path} has several columns {column!r}, so that it is not clear which one is meant.")
    places = {name: names.index(name) for name in (*columns, *optional) if name in names}
    for values in lines:
        if not values:
            continue
        if len(values) != len(names):
            raise DatasetError(
                f"{path}, line {lines.line_num}: it has {len(values)} columns, the first line names {len(names)}."
            )
        yield Row(path, lines.line_num, {name: values[place] for name, place in places.items()})


def read_tab_table(path: Path, columns: Mapping[str, int]) -> list[Row]:
    """Read a tab-separated table without a header, `columns` saying which column stands where, from 0.

    Quotation marks are text like any other: each line is a row. A line that is too short lacks columns.
    """
    return [
        Row(path, number, _tab_values(path, number, line.rstrip("\n").split("\t"), columns))
        for number, line in enumerate(_lines(path), start=1)
        if line.strip()
    ]


def _tab_values(path: Path, line: int, values: Sequence[str], columns: Mapping[str, int]) -> dict[str, object]:
    short = RowError(
        f"{path}, line {line}",
        f"it has {len(values)} tab-separated columns, and column {max(columns.values()) + 1} is required",
    )
    return {name: values[at] if at < len(values) else short for name, at in columns.items()}


def read_list(path: Path, column: str) -> list[Row] | None:
    """Read a list without a header, one id per line, as rows of this column; None when the file is a table."""
    lines = [(number, line.strip()) for number, line in enumerate(_lines(path), start=1) if line.strip()]
    if not lines or any(separator in line for _, line in lines for separator in _SEPARATED):
        return None
    first = lines[0][1].strip("\"'").lower()
    if (
        first == column
        or first.replace(" ", "_") in _HEADERS
        or difflib.SequenceMatcher(a=first, b=column).ratio() > 0.8
    ):
        return None
    return [Row(path, number, {column: line}) for number, line in lines]


def read_json(path: Path) -> object:
    """Read a JSON file; raises DatasetError when it is not valid."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not valid JSON: {error}.") from error


def read_bare_table(path: Path, columns: Mapping[str, int]) -> list[Row]:
    """Read a comma-separated table without a header, `columns` saying which column stands where, from 0.

    A first line that names the columns is skipped. Raises DatasetError for a line that is too short.
    """
    csv.field_size_limit(_LARGEST_FIELD_BYTES)
    needed = max(columns.values()) + 1
    lines = csv.reader(_table_lines(path), strict=True)
    rows: list[Row] = []
    try:
        for values in lines:
            if not any(value.strip() for value in values):
                continue
            if len(values) < needed:
                raise DatasetError(
                    f"{path}, line {lines.line_num}: it has {len(values)} columns, and column {needed} is required."
                )
            held = {name: values[place] for name, place in columns.items()}
            if rows or not all(value.strip().lower() == name for name, value in held.items()):
                rows.append(Row(path, lines.line_num, held))
    except csv.Error as error:
        raise DatasetError(
            f"{path}, line {lines.line_num}: it cannot be read as comma-separated text: {error}."
        ) from error
    return rows


def read_text(path: Path) -> str:
    """Read a UTF-8 text file with any usual line endings; raises DatasetError naming a line that is not UTF-8."""
    return "".join(_lines(path))


def _lines(path: Path) -> Iterator[str]:
    require_file(path)
    try:
        # Not `splitlines`, which also splits at characters that occur within texts.
        with path.open(encoding="utf-8-sig") as file:
            yield from file
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}.") from error
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path}, line {_line_of_fault(path)}: it is not UTF-8 ({error.reason}). Convert the file."
        ) from error


def _table_lines(path: Path) -> Iterator[str]:
    """Yield the lines, and an empty one behind a last line feed: a quotation that is not closed goes on there."""
    line = ""
    for line in _lines(path):
        yield line
    if line.endswith("\n"):
        yield "\n"


def _line_of_fault(path: Path) -> int:
    """Return the number of the first line that is not UTF-8, from 1."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1
