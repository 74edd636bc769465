"""Parts of a large JSON object, one after the other, in memory bounded by the largest of them.

Python's own decoder reads each member: it is as fast as the usual streaming parsers, and accepts NaN and Infinity,
which Python itself writes and those parsers refuse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from reeldex.embedding.datasets.text_files import not_utf_8
from reeldex.embedding.errors import DatasetError, require_file

_CHUNK_CHARACTERS = 1 << 20
_LARGEST_MEMBER_CHARACTERS = 1 << 28
_SPACES = " \t\r\n"
# What can follow a number that the end of the buffer cuts: 1 of 1.5, 1e-5.
_CUT = re.compile(r"(\.|[eE][+-]?)?")
_SPACE = re.compile(f"[{_SPACES}]*")


def object_members(path: Path) -> Iterator[tuple[str, object]]:
    """Yield the members of the object in a UTF-8 JSON file, in its order; a repeated name is yielded again.

    Raises DatasetError when the file is absent, not UTF-8, not JSON, or holds anything but one object.
    """
    require_file(path)
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from JsonObject(file).members()
    except UnicodeDecodeError as error:
        raise not_utf_8(path, error) from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}.") from error
    except (JsonSyntaxError, RecursionError) as error:
        raise DatasetError(
            f"{path} cannot be read as JSON that maps names to values: {error}. Get the file again."
        ) from error


class JsonSyntaxError(ValueError):
    """A text is not JSON, or another value than was asked for."""


class JsonObject:
    """The object in a JSON text. Its methods raise JsonSyntaxError, and what reading the text raises."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._buffer = ""
        self._at = 0  # the next character in the buffer
        self._before = 0  # characters of the file before the buffer
        self._ended = False
        self._decoder = json.JSONDecoder()

    def members(self) -> Iterator[tuple[str, object]]:
        """Yield the members."""
        return ((name, self.value()) for name in self.names())

    def names(self) -> Iterator[str]:
        """Yield the name of each member; take its value, or the elements of it, before the next."""
        for _ in self._items("{", "}", "object"):
            if self._next() != '"':
                raise self._fault("no name of a member stands")
            name = str(self.value())
            self._expect(":", "no colon stands")
            yield name
        if self._next():
            raise self._fault("something follows the object")

    def elements(self) -> Iterator[object]:
        """Yield the elements of the array that is the present value."""
        return (self.value() for _ in self._items("[", "]", "array"))

    def _items(self, first: str, last: str, what: str) -> Iterator[None]:
        """Yield before each item between two brackets."""
        self._expect(first, f"an {what} does not begin")
        if self._next() != last:
            yield
            while self._next() == ",":
                self._at += 1
                yield
        self._expect(last, f"neither a comma nor the end of the {what} stands")

    def value(self) -> object:
        """Return the present value; more of the file is read until it is complete."""
        self._next()
        wanted = _CHUNK_CHARACTERS
        while True:
            try:
                value, stop = self._decoder.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                if self._ended or wanted > _LARGEST_MEMBER_CHARACTERS:
                    raise JsonSyntaxError(f"{error.msg} at character {self._before + error.pos + 1}") from error
            else:
                if self._ended or not _CUT.fullmatch(self._buffer, stop):
                    self._at = stop
                    return value
            self._fill(wanted)
            wanted *= 2

    def _next(self) -> str:
        """Skip white space and return the next character, empty at the end of the file."""
        while True:
            if (character := self._buffer[self._at : self._at + 1]) and character not in _SPACES:
                return character
            found = _SPACE.match(self._buffer, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._buffer):
                continue
            if self._ended:
                return ""
            self._fill(_CHUNK_CHARACTERS)

    def _expect(self, character: str, otherwise: str) -> None:
        if self._next() != character:
            raise self._fault(otherwise)
        self._at += 1

    def _fill(self, characters: int) -> None:
        more = self._file.read(characters)
        self._ended = len(more) < characters
        self._before += self._at
        self._buffer = self._buffer[self._at :] + more
        self._at = 0

    def _fault(self, why: str) -> JsonSyntaxError:
        return JsonSyntaxError(f"{why} at character {self._before + self._at + 1}")
