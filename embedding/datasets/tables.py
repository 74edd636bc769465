"""Strict reading of tables whose first line names the columns: errors name file, line and column."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from reeldex.embedding.datasets.rows import Row
from reeldex.embedding.datasets.text_files import text_lines
from reeldex.embedding.errors import DatasetError, listed, quoted
from reeldex.quantities import counted

if TYPE_CHECKING:
    from _csv import Reader

Aliases = Mapping[str, Sequence[str]]
"""Other names of columns."""

SEPARATED = {",": "comma-separated", ";": "semicolon-separated", "\t": "tab-separated"}
"""How a table is called by what separates its columns."""

LARGEST_FIELD_BYTES = 10_000_000
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_NO_ALIASES: Aliases = MappingProxyType({})


def read_table(
    path: Path, columns: Sequence[str], optional: Sequence[str] = (), aliases: Aliases = _NO_ALIASES
) -> list[Row]:
    """Read a table whose first line names its columns, in any case; further columns are ignored.

    Separated by commas, or by semicolons or tabs if more of the columns are found then. `aliases` are other names of
    columns. Raises DatasetError as `stream_table` does.
    """
    return list(stream_table(path, columns, optional, aliases))


def stream_table(
    path: Path, columns: Sequence[str], optional: Sequence[str] = (), aliases: Aliases = _NO_ALIASES
) -> Iterator[Row]:
    """Yield the rows of such a table one by one, in bounded memory; empty ones are no rows.

    Raises DatasetError when the file or a column is absent or a column is named twice, for a row of another length
    than the first, and for a quotation mark that is not closed.
    """
    csv.field_size_limit(LARGEST_FIELD_BYTES)
    content = table_lines(path)
    begin = []
    for line in content:
        begin.append(line)
        if line.strip():
            break
    if not begin or not begin[-1].strip():
        raise DatasetError(f"{path} is empty; its first line must name the columns {_needed(columns, aliases)}.")
    delimiter = _delimiter(begin[-1], columns, aliases)
    # Strict, because an unclosed quotation would otherwise absorb all following rows.
    lines = csv.reader(chain(begin, content), delimiter=delimiter, strict=True)
    try:
        yield from _rows(path, lines, columns, optional, aliases)
    except csv.Error as error:
        raise DatasetError(
            f"{path}, line {lines.line_num}: it cannot be read as {SEPARATED[delimiter]} text: {error}. Quote texts "
            f"that hold {_SEPARATORS[delimiter]}, and write quotation marks within them twice."
        ) from error


def table_lines(path: Path) -> Iterator[str]:
    """Yield the lines, and an empty one behind a last line feed: a quotation that is not closed goes on there."""
    line = ""
    for line in text_lines(path):
        yield line
    if line.endswith("\n"):
        yield "\n"


def _delimiter(first: str, columns: Sequence[str], aliases: Aliases) -> str:
    """Return what separates the columns of a first line: that by which most of the columns are found."""

    def found(delimiter: str) -> int:
        try:
            header = next(csv.reader([first], delimiter=delimiter), [])
        except csv.Error:
            return 0
        return len(set(columns) & set(_named(header, columns, aliases)))

    return max(SEPARATED, key=found)


def _named(header: Sequence[str], columns: Sequence[str], aliases: Aliases) -> list[str]:
    """Return the names of a header; a name that means one of these columns is replaced by it."""
    names = [name.strip() for name in header]
    lowered = [name.lower() for name in names]
    for column in columns:
        for meant in (column, *aliases.get(column, ())):
            if column not in names and meant in lowered:
                names = [column if low == meant else name for name, low in zip(names, lowered, strict=True)]
    return names


def _needed(columns: Sequence[str], aliases: Aliases) -> str:
    """Return the columns with their other names, for a message."""
    said = [f"{each} (or {', '.join(aliases[each])})" if each in aliases else each for each in columns]
    return ", ".join(said)


def _rows(
    path: Path, lines: Reader, columns: Sequence[str], optional: Sequence[str], aliases: Aliases
) -> Iterator[Row]:
    header = [name.strip() for name in next(values for values in lines if any(map(str.strip, values)))]
    names = _named(header, (*columns, *optional), aliases)
    for column in columns:
        if column not in names:
            near = difflib.get_close_matches(column, header, n=1)
            hint = f" Did you mean {quoted(near[0])} there?" if near else ""
            raise DatasetError(
                f"{path} has no column {column!r}.{hint} Its columns are: {listed(header)}; needed are: "
                f"{_needed(columns, aliases)}."
            )
    for column in (*columns, *optional):
        if names.count(column) > 1:
            alike = listed(given for given, name in zip(header, names, strict=True) if name == column)
            raise DatasetError(
                f"{path} has several columns {column!r} ({alike}), so that it is not clear which one is meant."
            )
    places = {name: names.index(name) for name in (*columns, *optional) if name in names}
    written = {name: header[place] for name, place in places.items() if header[place] != name}
    for values in lines:
        if not any(map(str.strip, values)):
            continue
        if len(values) != len(names):
            raise DatasetError(
                f"{path}, line {lines.line_num}: it has {counted(len(values), 'column')}, the first line names "
                f"{len(names)}.{' Quote texts that hold what separates columns.' if len(values) > len(names) else ''}"
            )
        yield Row(path, lines.line_num, {name: values[place] for name, place in places.items()}, written=written)
