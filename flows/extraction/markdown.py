"""Tables as Markdown, as pages of the Prefect UI show them: their cells wrap, where its own tables are cut off."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

CELL_CHARACTERS = 400
_LONG = 40  # characters that fit into a column of four
_MAY_BREAK = "\u200b"  # the UI drops `<wbr>`
# Only what would change the text: a file name stays as it is wherever that is possible, so that it can be searched for.
_SPECIAL = re.compile(r"[\\|`*<\[~]|(?<![^\W_])_|_(?![^\W_])|&(?=#|\w+;)")
_UNBROKEN = re.compile(rf"[^\s/-]{{{_LONG + 1},}}")  # browsers break lines after a slash and a hyphen
_JOINT = re.compile(r"([_.,;=]+|[^_.,;=]{32})(?=.)")


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows, all with the same columns, as a table; columns that are empty in every row are left out."""
    columns = [name for name in (rows[0] if rows else ()) if any(row[name] for row in rows)]
    lines = [" | ".join(map(cell, columns)), " | ".join("---" for _ in columns)]
    lines += [" | ".join(cell(row[name]) for name in columns) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Return pairs of a name and a value, both Markdown, as a table without headings."""
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in pairs)])


def cell(text: str) -> str:
    """Return text escaped for a cell of a table, on one line and shortened.

    Very long words, such as names of files without spaces, are given places where a line may be broken.
    """
    text = " ".join(text.split())
    if len(text) > CELL_CHARACTERS:
        text = f"{text[:CELL_CHARACTERS]}..."
    breakable = _UNBROKEN.sub(lambda word: _JOINT.sub(rf"\1{_MAY_BREAK}", word[0]), text)
    return _SPECIAL.sub(r"\\\g<0>", breakable)
