"""Reads tables without a first line that names their columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from reeldex.embedding.datasets.rows import Row
from reeldex.embedding.datasets.tables import LARGEST_FIELD_BYTES, SEPARATED, table_lines
from reeldex.embedding.datasets.text_files import text_lines
from reeldex.embedding.errors import DatasetError, RowError
from reeldex.quantities import counted


def read_tab_table(path: Path, columns: Mapping[str, int]) -> list[Row]:
    """Read a tab-separated table without a header, `columns` saying which column stands where, from 0.

    Quotation marks are text like any other: each line is a row. A line that is too short lacks columns.
    """
    return [
        Row(path, number, _values(path, number, line.rstrip("\n").split("\t"), columns, "\t"))
        for number, line in enumerate(text_lines(path), start=1)
        if line.strip()
    ]


def read_bare_table(path: Path, columns: Mapping[str, int]) -> Iterator[Row]:
    """Yield the rows of a table without a header, `columns` saying which column stands where, from 0.

    Separated by commas, or by semicolons or tabs if only then the first line has these columns. A first line that names
    the columns is skipped. A line that is too short lacks columns. Raises DatasetError for a quotation mark that is not
    closed.
    """
    csv.field_size_limit(LARGEST_FIELD_BYTES)
    content = table_lines(path)
    first = next(content, "")
    delimiter = next((each for each in SEPARATED if first.count(each) >= max(columns.values())), ",")
    lines = csv.reader(chain([first], content), delimiter=delimiter, strict=True)
    is_first = True
    try:
        for values in lines:
            if not any(map(str.strip, values)):
                continue
            held = _values(path, lines.line_num, values, columns, delimiter)
            if not (is_first and all(str(value).strip().lower() == name for name, value in held.items())):
                yield Row(path, lines.line_num, held)
            is_first = False
    except csv.Error as error:
        raise DatasetError(
            f"{path}, line {lines.line_num}: it cannot be read as {SEPARATED[delimiter]} text: {error}. Write "
            "quotation marks within texts twice."
        ) from error


def _values(
    path: Path, line: int, values: Sequence[str], columns: Mapping[str, int], delimiter: str
) -> dict[str, object]:
    short = RowError(
        f"{path}, line {line}",
        f"it has {counted(len(values), f'{SEPARATED[delimiter]} column')}, and column {max(columns.values()) + 1} is "
        "required",
    )
    return {name: values[at] if at < len(values) else short for name, at in columns.items()}
