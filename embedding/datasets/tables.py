"""Strict reading of text tables: errors name file, line and column."""

from __future__ import annotations

import csv
import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.embedding.errors import DatasetError

if TYPE_CHECKING:
    from _csv import Reader

_CLOCK = re.compile(r"(\d+):(\d{1,2}):(\d{1,2}(?:\.\d+)?)")
_CLASSES = re.compile(r"\[\s*(\d+\s*(,\s*\d+\s*)*)?\]")
_LARGEST_FIELD_BYTES = 10_000_000


@dataclass(frozen=True)
class Row:
    """One row of a table; `line` is the line of the file it ends on, counted from 1."""

    path: Path
    line: int
    values: Mapping[str, str]

    def text(self, column: str) -> str:
        """Return a text, without surrounding space; raises DatasetError when it is empty."""
        text = self.values[column].strip()
        if not text:
            raise self.refusal(column, "it is empty")
        return text

    def integer(self, column: str) -> int:
        """Return a whole number that is not negative; raises DatasetError."""
        text = self.text(column)
        if not text.isdecimal():
            raise self.refusal(column, f"{text!r} is not a whole number")
        return int(text)

    def seconds(self, column: str) -> float:
        """Return seconds, written as a number or as hours:minutes:seconds; raises DatasetError."""
        text = self.text(column)
        clock = _CLOCK.fullmatch(text)
        try:
            seconds = int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3]) if clock else float(text)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            raise self.refusal(column, f"{text!r} is neither a time in seconds nor hours:minutes:seconds")
        return seconds

    def span(self, start_column: str, end_column: str) -> tuple[float, float]:
        """Return (start, end) in seconds; raises DatasetError when it ends before it starts."""
        start, end = self.seconds(start_column), self.seconds(end_column)
        if end < start:
            raise self.refusal(end_column, f"it ends at {end} seconds, before its start at {start}")
        return start, end

    def classes(self, column: str) -> frozenset[int]:
        """Return the numbers of a list such as `[2, 15]`; raises DatasetError for anything else or an empty one."""
        text = self.text(column)
        if not _CLASSES.fullmatch(text):
            raise self.refusal(column, f"{text!r} is not a list of classes such as [2, 15]")
        numbers = frozenset(int(number) for number in re.findall(r"\d+", text))
        if not numbers:
            raise self.refusal(column, "it names no class")
        return numbers

    def refusal(self, column: str, why: str) -> DatasetError:
        """Return an error that locates a fault in this row."""
        return DatasetError(f"{self.path}, line {self.line}, column {column!r}: {why}.")


def read_table(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> list[Row]:
    """Read a comma-separated table whose first line names its columns; further columns are ignored.

    Raises DatasetError as `stream_table` does.
    """
    return list(stream_table(path, columns, optional))


def stream_table(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Row]:
    """Yield the rows of such a table one by one, in bounded memory.

    Raises DatasetError when the file or a column is absent or a column is named twice, for a row of another length
    than the first, and for a quotation mark that is not closed.
    """
    csv.field_size_limit(_LARGEST_FIELD_BYTES)
    # Strict, because an unclosed quotation would otherwise absorb all following rows.
    lines = csv.reader(_table_lines(path), strict=True)
    try:
        yield from _rows(path, lines, columns, optional)
    except csv.Error as error:
        raise DatasetError(
            f"{path}, line {lines.line_num}: it cannot be read as comma-separated text: {error}. Quote texts that hold "
            "commas, and write quotation marks within them twice."
        ) from error


def _rows(path: Path, lines: Reader, columns: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    header = next(lines, None)
    if not header:
        raise DatasetError(f"{path} is empty; its first line must name the columns {', '.join(columns)}.")
    names = [name.strip() for name in header]
    for column in columns:
        if column not in names:
            near = difflib.get_close_matches(column, names, n=1)
            hint = f" Did you mean {near[0]!r} there?" if near else ""
            raise DatasetError(
                f"{path} has no column {column!r}.{hint} Its columns are: {', '.join(names)}; needed are: "
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

    Quotation marks are text like any other: each line is a row. Raises DatasetError for a line that is too short.
    """
    needed = max(columns.values()) + 1
    rows = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        values = line.rstrip("\n").split("\t")
        if len(values) < needed:
            raise DatasetError(
                f"{path}, line {number}: it has {len(values)} tab-separated columns, and column {needed} is required."
            )
        rows.append(Row(path, number, {name: values[place] for name, place in columns.items()}))
    return rows


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
    if not path.is_file():
        raise DatasetError(f"There is no file {path}. Correct the path, or put the file there.")
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
