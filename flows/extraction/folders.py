"""Searches folders for videos: follows links without going round in circles, and notes what it passes over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reeldex.containers import VIDEO_SUFFIXES
from reeldex.flows.extraction.file_names import printable as _shown
from reeldex.flows.extraction.patterns import PathFilter, compiled_name, ending_of, has_pattern
from reeldex.flows.extraction.search_notes import NoteKind, SearchTally


def has_video_ending(name: str, also: frozenset[str] = frozenset()) -> bool:
    """Whether a file of this name is searched for: its ending is that of a video, or one of `also`."""
    ending = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a str name keeps bytes that are not UTF-8
    return ending in VIDEO_SUFFIXES or ending in also


@dataclass(frozen=True)
class _Folder:
    """A folder to search: its path as the user reaches it, and the same below the source (empty: the source)."""

    path: str
    relative: str


class FolderSearch:
    """A search of one folder with its subfolders, also those that links lead to. Hidden files are skipped.

    A folder that can be reached in several ways is searched once: under its own path rather than through a link. A link
    to a folder that contains the link is never followed.
    """

    def __init__(self, folder: Path, patterns: PathFilter, tally: SearchTally) -> None:
        self._root = folder
        self._patterns = patterns
        self._tally = tally
        self._searched: set[tuple[int, int]] = set()
        self._links: list[_Folder] = []

    def files(self) -> Iterator[tuple[Path, str]]:
        """Yield the path of each video and its path below the folder, linked ones last.

        Raises OSError for the folder itself.
        """
        os.scandir(self._root).close()
        yield from self._below(_Folder(str(self._root), ""))
        while self._links:
            link = self._links.pop(0)
            try:
                inside = not _leads_back(link.path) and self._is_new(link)
            except OSError:
                self._tally.add(NoteKind.UNREADABLE_FOLDER, _shown(link.relative))
                continue
            if inside:
                yield from self._below(link, seen=True)
            else:
                self._tally.add(NoteKind.REPEATED_LINK, _shown(link.relative))

    def _below(self, folder: _Folder, *, seen: bool = False) -> Iterator[tuple[Path, str]]:
        """Yield the files of a folder in order of their names, then those of its subfolders; postpone links."""
        waiting = [folder]
        while waiting:
            at = waiting.pop()
            try:
                if not seen and not self._is_new(at):
                    continue
                with os.scandir(at.path) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError:
                self._tally.add(NoteKind.UNREADABLE_FOLDER, _shown(at.relative))
                continue
            seen = False
            folders = []
            for entry in entries:
                relative = f"{at.relative}/{entry.name}" if at.relative else entry.name
                if entry.name.startswith("."):
                    self._tally.add(NoteKind.HIDDEN, _shown(relative))
                elif not _is_folder(entry):
                    if self._takes(entry, relative):
                        yield Path(at.path, entry.name), relative
                elif not self._patterns.admits_folder(relative):
                    self._tally.add(NoteKind.EXCLUDED, _shown(relative) + "/")
                elif entry.is_symlink():
                    self._links.append(_Folder(entry.path, relative))
                else:
                    folders.append(_Folder(entry.path, relative))
            waiting += reversed(folders)

    def _takes(self, entry: os.DirEntry[str], relative: str) -> bool:
        if has_video_ending(entry.name, self._patterns.endings):
            if self._patterns.admits(relative):
                return True
            self._tally.add(NoteKind.EXCLUDED, _shown(relative))
        elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110
            self._tally.add(NoteKind.BROKEN_LINK, _shown(relative))
        else:
            ending = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
            self._tally.add_other_ending(_shown(relative), _shown(ending))
        return False

    def _is_new(self, folder: _Folder) -> bool:
        status = os.stat(folder.path)  # noqa: PTH116 - a str path keeps bytes that are not UTF-8
        identity = (status.st_dev, status.st_ino)
        if identity in self._searched:
            return False
        self._searched.add(identity)
        return True


def _leads_back(link: str) -> bool:
    """Whether a link leads to a folder that contains it."""
    target = os.path.realpath(link)
    holder = os.path.realpath(os.path.dirname(link) or ".")  # noqa: PTH120
    return os.path.commonpath([target, holder]) == target


def expand(pattern: str, tally: SearchTally) -> list[Path]:
    """Return the files and folders that a quoted pattern stands for, in order; `**` stands for any folders.

    As in a shell, hidden names need a pattern that begins with a dot. Files match if they have a video's ending or the
    pattern spells theirs out; `tally` counts the others, and folders that cannot be read.
    """
    anchor = "/" if pattern.startswith("/") else ""
    parts = [part for part in pattern.split("/") if part not in {"", "."}]
    also = frozenset(filter(None, [ending_of(pattern)]))
    found = sorted(set(_expanded(anchor, parts, set(), tally)))
    return [Path(path) for path in found if _is_source(path, also, tally)]


def _is_source(path: str, also: frozenset[str], tally: SearchTally) -> bool:
    if os.path.isdir(path):  # noqa: PTH112 - a str path keeps bytes that are not UTF-8
        leads_back = os.path.islink(path) and _leads_back(path)  # noqa: PTH114
        if leads_back:
            tally.add(NoteKind.REPEATED_LINK, _shown(path))
        return not leads_back
    is_video = has_video_ending(path, also)
    if not is_video:
        tally.add_other_ending(_shown(path), _shown(os.path.splitext(path)[1].lower()))  # noqa: PTH122
    return is_video


def _expanded(base: str, parts: list[str], searched: set[tuple[str, int]], tally: SearchTally) -> Iterator[str]:
    if not parts:
        yield base
        return
    part, rest = parts[0], parts[1:]
    if not has_pattern(part):
        path = os.path.join(base, part)  # noqa: PTH118
        if os.path.lexists(path):
            yield from _expanded(path, rest, searched, tally)
        return
    # A link that leads round in a circle comes back to the same folder with the same rest of the pattern.
    place = (os.path.realpath(base or "."), len(parts))
    if place in searched:
        return
    searched.add(place)
    try:
        with os.scandir(base or ".") as entries:
            names = sorted(entry.name for entry in entries if part.startswith(".") or not entry.name.startswith("."))
    except NotADirectoryError:
        return
    except OSError:
        tally.add(NoteKind.UNREADABLE_FOLDER, _shown(base or "."))
        return
    if part == "**":
        yield from _expanded(base, rest, searched, tally) if rest else (base or ".",)
        folders = [name for name in names if os.path.isdir(os.path.join(base, name))]  # noqa: PTH112, PTH118
        for name in folders if rest else ():
            yield from _expanded(os.path.join(base, name), parts, searched, tally)  # noqa: PTH118
        return
    matches = compiled_name(part)
    for name in names:
        if matches(name):
            path = os.path.join(base, name)  # noqa: PTH118
            if not rest or os.path.isdir(path):  # noqa: PTH112
                yield from _expanded(path, rest, searched, tally)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link that leads round in a circle, or through a folder that cannot be read
