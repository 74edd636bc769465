"""File name patterns: which files a run includes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from reeldex.errors import UsageError

_MAGIC = re.compile(r"[*?\[]")
# A set has at least one character, so that `]` may be the first; a bracket that is not closed stands for itself.
_PIECE = re.compile(r"\[(?:!|(?!!)).[^\]]*\]|.", re.DOTALL)
_LITERAL_ENDING = re.compile(r"[^*?\[\]]*(\.[^*?\[\]./]+)")


def has_pattern(text: str) -> bool:
    """Whether a path contains a character of a pattern: `*`, `?` or `[`."""
    return _MAGIC.search(text) is not None


def ending_of(pattern: str) -> str | None:
    """Return the ending that a pattern spells out, such as `.dat` for `cam*/*.dat`; None for another pattern."""
    last = pattern.rpartition("/")[2]
    tail = re.split(r"[*?\]]", last)[-1]
    match = _LITERAL_ENDING.fullmatch(tail)
    return match[1].lower() if match else None


@dataclass(frozen=True)
class PathFilter:
    """The patterns of a run: with `include`, only files that match one of them; never what matches one of `exclude`.

    A pattern without a slash is compared with the name of a file, and of each folder on its path below the source; one
    with a slash with the path below the source, where `**` stands for any folders. Case counts; the Unicode form of
    accents does not. As in a shell, a bracket that is not closed stands for itself. Raises UsageError for a range in a
    set that ends before it starts.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pattern in (*self.include, *self.exclude):
            _compiled(pattern)

    @cached_property
    def _included(self) -> list[tuple[re.Pattern[str], bool]]:
        return [_compiled(pattern) for pattern in self.include]

    @cached_property
    def _excluded(self) -> list[tuple[re.Pattern[str], bool]]:
        return [_compiled(pattern) for pattern in self.exclude]

    @cached_property
    def endings(self) -> frozenset[str]:
        """The endings that the patterns of `include` spell out: such files are taken whatever they are."""
        return frozenset(ending for pattern in self.include if (ending := ending_of(pattern)))

    def admits_folder(self, relative: str) -> bool:
        """Whether a folder may be searched."""
        return not _matches(relative, self._excluded)

    def admits(self, relative: str) -> bool:
        """Whether a file is included."""
        if _matches(relative, self._excluded):
            return False
        return not self.include or _matches(relative, self._included)


def _compiled(pattern: str) -> tuple[re.Pattern[str], bool]:
    """Return a pattern as a regular expression, and whether it is compared with single names."""
    whole = unicodedata.normalize("NFC", pattern.removeprefix("./").strip("/"))
    return re.compile(_regular_expression(whole)), "/" not in whole


def _regular_expression(pattern: str) -> str:
    parts = pattern.split("/")
    found = ""
    for at, part in enumerate(parts):
        last = at == len(parts) - 1
        if part == "**":
            found += ".+" if last else "(?:[^/]+/)*"
        else:
            found += _one_name(part) + ("" if last else "/")
    return rf"(?s:{found})"


def _one_name(part: str) -> str:
    """Return a name with wildcards as a regular expression; no wildcard matches a slash."""
    found = ""
    for piece in _PIECE.findall(part):
        if piece == "*":
            found += "[^/]*"
        elif piece == "?":
            found += "[^/]"
        elif len(piece) > 1:
            found += _set(piece[1:-1], part)
        else:
            found += re.escape(piece)
    return found


def _set(characters: str, part: str) -> str:
    """Return the characters between brackets as a regular expression of one character, which is not a slash."""
    negated = characters[0] == "!"
    rest = characters[negated:]
    found = ""
    while rest:
        if len(rest) > 2 and rest[1] == "-":
            if rest[0] > rest[2]:
                raise UsageError(
                    f"The pattern {part!r} has a range that ends before it starts: {rest[:3]!r}. "
                    f"Write {rest[2::-1]!r}, or put `-` first in the brackets if it stands for itself."
                )
            found += f"{re.escape(rest[0])}-{re.escape(rest[2])}"
            rest = rest[3:]
        else:
            found += re.escape(rest[0])
            rest = rest[1:]
    return f"(?!/)[{'^' if negated else ''}{found}]"


def compiled_name(part: str) -> Callable[[str], bool]:
    """Return whether a single name matches a pattern without slashes, as a function."""
    expression = re.compile(f"(?s:{_one_name(unicodedata.normalize('NFC', part))})")
    return lambda name: expression.fullmatch(unicodedata.normalize("NFC", name)) is not None


def _matches(relative: str, patterns: Sequence[tuple[re.Pattern[str], bool]]) -> bool:
    if not patterns:
        return False
    path = unicodedata.normalize("NFC", relative)
    names = path.split("/")
    parents = ["/".join(names[: at + 1]) for at in range(len(names))]
    return any(
        any(pattern.fullmatch(each) for each in (names if by_name else parents)) for pattern, by_name in patterns
    )
