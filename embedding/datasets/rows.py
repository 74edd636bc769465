"""Leaves out single annotation rows that cannot be used, and counts them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from reeldex.embedding.errors import DatasetError, RowError
from reeldex.quantities import counted

log = logging.getLogger(__name__)

_Row = TypeVar("_Row")
_Parsed = TypeVar("_Parsed")
_SHOWN = 2


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
