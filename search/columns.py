"""Sequences of small records, a column per field: of a million videos, a fraction of the memory that objects take."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, starmap
from operator import attrgetter
from typing import Any, ClassVar, TypeVar, overload

import numpy as np
import numpy.typing as npt

T = TypeVar("T")


class Texts:
    """Texts in one block of UTF-8; surrogates, of file names that are not UTF-8, are kept."""

    def __init__(self) -> None:
        self._block = bytearray()
        self._ends = array("q", [0])

    def append(self, text: str) -> None:
        """Add a text."""
        self._block += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._block))

    def __getitem__(self, at: int) -> str:
        return self._block[self._ends[at] : self._ends[at + 1]].decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        block = self._block
        return (block[first:stop].decode("utf-8", "surrogatepass") for first, stop in pairwise(self._ends))


class _Converted:
    """Values that are kept as numbers of another kind."""

    def __init__(self, code: str, kept: Callable[[Any], float], made: Callable[[Any], float | None]) -> None:
        self.numbers: array[Any] = array(code)
        self._kept, self._made = kept, made

    def append(self, value: float | None) -> None:
        self.numbers.append(self._kept(value))

    def __getitem__(self, at: int) -> float | None:
        return self._made(self.numbers[at])

    def __iter__(self) -> Iterator[float | None]:
        return map(self._made, self.numbers)


_COLUMNS: dict[object, Callable[[], Any]] = {
    str: Texts,
    int: lambda: array("q"),
    float: lambda: array("d"),
    bool: lambda: _Converted("b", int, bool),
    float | None: lambda: _Converted(
        "d", lambda value: math.nan if value is None else value, lambda value: None if math.isnan(value) else value
    ),
}


class Columns(Sequence[T]):
    """Records of one class; each is made when it is asked for.

    A subclass names the class of the records and the type of each of its fields, in their order: str, int of 64 bits,
    float, bool or float | None.
    """

    record: ClassVar[Callable[..., Any]]
    fields: ClassVar[Mapping[str, object]]

    def __init__(self, records: Iterable[T] = ()) -> None:
        self._columns: dict[str, Any] = {name: _COLUMNS[kind]() for name, kind in self.fields.items()}
        self._appends = [column.append for column in self._columns.values()]
        self._values = attrgetter(*self.fields)
        self._count = 0
        for record in records:
            self.append(record)

    def append(self, record: T) -> None:
        """Add a record; raises as `append_row` does."""
        self.append_row(self._values(record))

    def append_row(self, values: Iterable[object]) -> None:
        """Add a record by the values of its fields; raises OverflowError for an integer of more than 64 bits."""
        for append, value in zip(self._appends, values, strict=True):
            append(value)
        self._count += 1

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Return the values of each record's fields."""
        return zip(*self._columns.values(), strict=True)

    def texts(self, name: str) -> Texts:
        """Return a field of texts of all records."""
        found: Texts = self._columns[name]
        return found

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Return a field of numbers of all records, without a copy: no record can be added while it is in use."""
        column = self._columns[name]
        return np.asarray(column.numbers if isinstance(column, _Converted) else column)

    def chosen(self, places: npt.ArrayLike) -> Chosen[T]:
        """Return the records at these places, without a copy."""
        return Chosen(self, np.asarray(places, np.int64))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> T: ...

    @overload
    def __getitem__(self, at: slice) -> Chosen[T]: ...

    def __getitem__(self, at: int | slice) -> T | Chosen[T]:
        if isinstance(at, slice):
            return self.chosen(range(self._count)[at])
        place = range(self._count)[at]
        record: T = self.record(*[column[place] for column in self._columns.values()])
        return record

    def __iter__(self) -> Iterator[T]:
        return starmap(self.record, self.rows())


class Chosen(Sequence[T]):
    """Some records of a sequence, by their places in it."""

    def __init__(self, records: Columns[T], places: npt.NDArray[np.int64]) -> None:
        self._records = records
        self.places = places

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, at: int) -> T: ...

    @overload
    def __getitem__(self, at: slice) -> Chosen[T]: ...

    def __getitem__(self, at: int | slice) -> T | Chosen[T]:
        if isinstance(at, slice):
            return Chosen(self._records, self.places[at])
        return self._records[int(self.places[at])]
