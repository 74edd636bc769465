"""Reads the text files of data sets: UTF-8 lines, whole texts, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from reeldex.embedding.errors import DatasetError, require_file

# What else a file that is not UTF-8 may be, by its first bytes.
_OTHER_FILES = {
    b"\x1f\x8b": "it is compressed with gzip. Unpack it",
    b"PK\x03\x04": "it is a zip archive or a spreadsheet. Unpack it, or save it as text",
    b"\xff\xfe": "it is UTF-16. Save it as UTF-8",
    b"\xfe\xff": "it is UTF-16. Save it as UTF-8",
}


def read_text(path: Path) -> str:
    """Read a UTF-8 text file with any usual line endings; raises DatasetError naming a line that is not UTF-8."""
    return "".join(text_lines(path))


def read_json(path: Path) -> object:
    """Read a JSON file; raises DatasetError when it is not valid."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not valid JSON: {error}. Get the file again.") from error


def text_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 text file with their line feeds; raises DatasetError as `read_text` does."""
    require_file(path)
    try:
        # Not `splitlines`, which also splits at characters that occur within texts.
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if "\0" in line:
                    raise DatasetError(
                        f"{path}, line {number}: it holds zero bytes, as UTF-16 does. Save the file as UTF-8 text."
                    )
                yield line
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}.") from error
    except UnicodeDecodeError as error:
        raise not_utf_8(path, error) from error


def not_utf_8(path: Path, error: UnicodeDecodeError) -> DatasetError:
    """Return an error that says where a file is not UTF-8, and what else it seems to be."""
    with path.open("rb") as file:
        begins = file.read(4)
    known = next((what for start, what in _OTHER_FILES.items() if begins.startswith(start)), None)
    if known is not None:
        return DatasetError(f"{path} is not UTF-8 text: {known}.")
    return DatasetError(
        f"{path}, line {_line_of_fault(path)}: it is not UTF-8 ({error.reason}). Save the file as UTF-8."
    )


def _line_of_fault(path: Path) -> int:
    """Return the number of the first line that is not UTF-8, from 1."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1
