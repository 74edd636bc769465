"""Rows of annotation files: strict values, and leaving out single rows that cannot be used."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from types import MappingProxyType
from typing import Generic, TypeVar

from reeldex.embedding.datasets.cells import seconds_of, text_of
from reeldex.embedding.errors import DatasetError, RowError, quoted
from reeldex.quantities import counted

log = logging.getLogger(__name__)

_Row = TypeVar("_Row")
_Parsed = TypeVar("_Parsed")
_SHOWN = 2
_CLASSES = re.compile(r"\[\s*(\d{1,18}\s*(,\s*\d{1,18}\s*)*)?\]")
_MOST_DIGITS = 18  # of a whole number: an int64 holds it


@dataclass(frozen=True)
class Row:
    """One row of a table; `line` is the line of the file it ends on, counted from 1.

    Of a row of JSON, `place` says where it is, instead of the line. The value of a column that the row lacks is the
    error to raise when it is asked for. `written` has the names of columns that the file spells differently.
    """

    path: Path
    line: int
    values: Mapping[str, object]
    place: str = ""
    written: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

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
        if not text.isdecimal() or len(text) > _MOST_DIGITS:
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
        name = quoted(self.written.get(column, column))
        return f"{self.path}{f': {self.place}' if self.place else f', line {self.line}'}, column {name}"

    def _value(self, column: str) -> object:
        if column not in self.values:
            raise self.fault(column, "it is missing")
        value = self.values[column]
        if isinstance(value, RowError):
            raise value
        return value


@dataclass(frozen=True)
class UsableRows(Generic[_Parsed]):
    """The usable rows of a file, parsed; `reasons` maps the places of the others to what is wrong with them."""

    rows: list[_Parsed]
    reasons: dict[str, str]

    @property
    def total(self) -> int:
        """How many rows the file has."""
        return len(self.rows) + len(self.reasons)


def usable_rows(path: Path, rows: Iterable[_Row], parse: Callable[[_Row], _Parsed]) -> UsableRows[_Parsed]:
    """Return the rows that `parse` accepts; those for which it raises RowError are left out and logged.

    Raises DatasetError when most rows cannot be used, and whatever else `parse` raises.
    """
    parsed: list[_Parsed] = []
    faults: list[RowError] = []
    for row in rows:
        try:
            parsed.append(parse(row))
        except RowError as error:
            faults.append(error)
    found = UsableRows(parsed, {error.place: error.why for error in faults})
    if not faults:
        return found
    how_many = f"{len(faults)} of {counted(found.total, 'row')} cannot be used"
    if len(faults) > len(parsed):
        raise DatasetError(f"{faults[0]} {how_many}. Check columns and format of {path}.")
    shown = " ".join(str(error) for error in faults[:_SHOWN])
    log.warning("%s: %s and %s left out. %s", path, how_many, "is" if len(faults) == 1 else "are", shown)
    return found
