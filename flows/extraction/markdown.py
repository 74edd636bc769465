"""Tables as Markdown, as pages of the Prefect UI show them: their cells wrap, where its own tables are cut off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

CELL_CHARACTERS = 400
_SPECIAL = "\\|`*_<[&~"


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
    """Return text escaped for a cell of a table, on one line and shortened; a path may be broken after each slash."""
    text = " ".join(text.split())
    if len(text) > CELL_CHARACTERS:
        text = f"{text[:CELL_CHARACTERS]}..."
    for character in _SPECIAL:
        text = text.replace(character, "\\" + character)
    return text.replace("/", "/<wbr>")
