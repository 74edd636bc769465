"""File name patterns: which files a run includes.

Single names are compared by `fnmatch`. The libraries that know `**` too (wcmatch, pathspec) give a meaning to a
backslash, `!` or `#` in the name of a file, and take a reversed range for one that matches nothing.
"""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from reeldex.errors import UsageError

_MAGIC = re.compile(r"[*?\[]")
# A set as fnmatch reads it: it has at least one character, so that `]` may be the first.
_SET = re.compile(r"\[!?(.[^\]]*)\]", re.DOTALL)
_RANGE = re.compile(r"(.)-(.)", re.DOTALL)
_LITERAL_ENDING = re.compile(r"[^*?\[\]]*(\.[^*?\[\]./]+)")

_MatchesName = Callable[[str], bool]


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
            _Pattern.of(pattern)

    @cached_property
    def _included(self) -> list[_Pattern]:
        return [_Pattern.of(pattern) for pattern in self.include]

    @cached_property
    def _excluded(self) -> list[_Pattern]:
        return [_Pattern.of(pattern) for pattern in self.exclude]

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


@dataclass(frozen=True)
class _Pattern:
    """A pattern as the patterns of the names on a path; None for `**`."""

    parts: tuple[_MatchesName | None, ...]

    @classmethod
    def of(cls, pattern: str) -> _Pattern:
        parts = pattern.removeprefix("./").strip("/").split("/")
        return cls(tuple(None if len(parts) > 1 and part == "**" else compiled_name(part) for part in parts))

    def matches(self, names: Sequence[str]) -> bool:
        """Whether the pattern matches the file with these names on its path, or a folder on it."""
        if len(self.parts) == 1:
            (matches_name,) = self.parts
            return matches_name is not None and any(map(matches_name, names))
        return any(_match(self.parts, names[: at + 1]) for at in range(len(names)))


def _match(parts: Sequence[_MatchesName | None], names: Sequence[str]) -> bool:
    """Whether parts match names one by one; `**` matches any number of names, at the end at least one."""
    if not parts:
        return not names
    first, *rest = parts
    if first is None:
        return bool(names) if not rest else any(_match(rest, names[at:]) for at in range(len(names)))
    return bool(names) and first(names[0]) and _match(rest, names[1:])


def compiled_name(part: str) -> _MatchesName:
    """Return whether a single name matches a pattern without slashes, as a function. Raises as PathFilter does."""
    pattern = unicodedata.normalize("NFC", part)
    _refuse_reversed_ranges(pattern)
    expression = re.compile(fnmatch.translate(pattern))
    return lambda name: expression.match(unicodedata.normalize("NFC", name)) is not None


def _refuse_reversed_ranges(pattern: str) -> None:
    for start, end in (bounds for each in _SET.findall(pattern) for bounds in _RANGE.findall(each)):
        if start > end:
            raise UsageError(
                f"The pattern {pattern!r} has a range that ends before it starts: {f'{start}-{end}'!r}. "
                f"Write {f'{end}-{start}'!r}, or put `-` first in the brackets if it stands for itself."
            )


def _matches(relative: str, patterns: Sequence[_Pattern]) -> bool:
    names = relative.split("/")
    return any(pattern.matches(names) for pattern in patterns)
