"""What a search for videos passed over or found twice, as counts with a few names: a folder may hold any number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from reeldex.storage.json_codec import Integer, Text, from_json, to_json

_NAMED = 5


class NoteKind(StrEnum):
    """Why files, folders or links were not searched; the last two: files that were, and share a name or an id."""

    OTHER_ENDING = "other_ending"
    HIDDEN = "hidden"
    EXCLUDED = "excluded"
    UNREADABLE_FOLDER = "unreadable_folder"
    LIKE_CREDENTIALS = "like_credentials"
    BROKEN_LINK = "broken_link"
    REPEATED_LINK = "repeated_link"
    EQUAL_NAME = "equal_name"
    EQUAL_ID = "equal_id"


_WORDS = {
    NoteKind.OTHER_ENDING: ("file with another ending", "files with other endings"),
    NoteKind.HIDDEN: ("hidden file or folder", "hidden files or folders"),
    NoteKind.EXCLUDED: ("file or folder excluded by a pattern", "files or folders excluded by patterns"),
    NoteKind.UNREADABLE_FOLDER: ("folder that CANNOT BE READ", "folders that CANNOT BE READ"),
    NoteKind.LIKE_CREDENTIALS: (
        "object that would be NAMED LIKE A URL WITH CREDENTIALS: rename or exclude it",
        "objects that would be NAMED LIKE URLS WITH CREDENTIALS: rename or exclude them",
    ),
    NoteKind.BROKEN_LINK: ("link to nothing", "links to nothing"),
    NoteKind.REPEATED_LINK: (
        "link to a folder that contains it or is searched already",
        "links to folders that contain them or are searched already",
    ),
    NoteKind.EQUAL_NAME: (
        "file has the name of another one; its id is its path",
        "files have names of others; their ids are their paths",
    ),
    NoteKind.EQUAL_ID: (
        "file has the id of another one and gets no features",
        "files have ids of others and get no features",
    ),
}


@dataclass(frozen=True)
class SearchNote:
    """How many things of one kind a search passed over, and the names of a few. Raises ValueError for none."""

    kind: NoteKind
    count: Integer
    examples: tuple[Text, ...]

    def __post_init__(self) -> None:
        if self.count < 1 or not 1 <= len(self.examples) <= min(self.count, _NAMED):
            raise ValueError(f"a note counts at least 1 and names at most {_NAMED}: {self.count}, {self.examples!r}")

    @property
    def is_about_ids(self) -> bool:
        """Whether this is about files that were found, not about what was passed over."""
        return self.kind in {NoteKind.EQUAL_NAME, NoteKind.EQUAL_ID}

    @property
    def is_failure(self) -> bool:
        """Whether videos may have been missed because of an error."""
        return self.kind in {NoteKind.UNREADABLE_FOLDER, NoteKind.LIKE_CREDENTIALS}

    def __str__(self) -> str:
        one, many = _WORDS[self.kind]
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{self.count:,} {one if self.count == 1 else many} ({', '.join(self.examples)}{more})"


def describe_notes(notes: Sequence[SearchNote]) -> list[str]:
    """Return one line for each note."""
    return [f"{'' if note.is_about_ids else 'Not searched: '}{note}." for note in notes]


def notes_to_json(notes: Sequence[SearchNote]) -> list[dict[str, Any]]:
    """Return the notes as JSON values."""
    return [to_json(note) for note in notes]


def notes_from_json(values: Sequence[Any]) -> tuple[SearchNote, ...]:
    """Return the notes of `notes_to_json`. Raises ValueError."""
    return tuple(from_json(SearchNote, value) for value in values)


class SearchTally:
    """Counts what a search passes over; keeps a few names of each kind."""

    def __init__(self) -> None:
        self._counts: Counter[NoteKind] = Counter()
        self._names: dict[NoteKind, list[str]] = {}
        self._endings: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, kind: NoteKind, name: str) -> None:
        """Count one thing that was passed over."""
        self._counts[kind] += 1
        names = self._names.setdefault(kind, [])
        if len(names) < _NAMED:
            names.append(name)

    def add_other_ending(self, name: str, ending: str) -> None:
        """Count a file whose name's ending (`.txt`, or empty) is not that of a video."""
        self._endings[ending] += 1
        self._first.setdefault(ending, name)

    def notes(self) -> tuple[SearchNote, ...]:
        """Return a note for each kind that was counted."""
        found = []
        if self._endings:
            # One example of each of the most frequent endings.
            named = tuple(
                f"{count:,} {ending or 'without an ending'}, such as {self._first[ending]}"
                for ending, count in self._endings.most_common(_NAMED)
            )
            found.append(SearchNote(NoteKind.OTHER_ENDING, self._endings.total(), named))
        found += [
            SearchNote(kind, self._counts[kind], tuple(self._names[kind])) for kind in NoteKind if self._counts[kind]
        ]
        return tuple(found)
