"""The record of the sources that were searched for a store: which videos each held, and which have left it since.

The ids of a large source are in a file of their own, `searches/<SHA-256>.json`, which is read only when that source is
searched again: what has left is in the record itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from reeldex.storage import layout
from reeldex.storage.atomic import publish, remove_file
from reeldex.storage.documents import read_document, refuse, write_document
from reeldex.storage.errors import StoreDamagedError
from reeldex.storage.json_codec import Flag, NotInJson, Text, to_json
from reeldex.storage.system_errors import list_folder, reading

_KIND = "searches"
_MOST_INLINE = 1000


@dataclass(frozen=True)
class SearchedSource:
    """The ids that the last search of a source found, and those that only earlier ones did, sorted.

    Of more than a thousand, `present` is empty and `present_sha256` names the file with them.
    """

    source: Text
    present: tuple[Text, ...]
    left: tuple[Text, ...] = ()
    present_sha256: Annotated[Text | None, Field(exclude_if=lambda sha256: sha256 is None)] = None


ReadIds = Callable[[SearchedSource], Collection[str]]


def inline_ids(source: SearchedSource) -> Collection[str]:
    """Return the ids that a source held. Raises ValueError where they are in a file."""
    if source.present_sha256 is not None:
        raise ValueError(f"The ids of {source.source!r} are in a file.")
    return source.present


@dataclass(frozen=True)
class Searches:
    """All sources of a store, and whether the id rule `auto` gives files with equal names their paths in it.

    `gone` are the ids that have left, recorded where finding them would need the file of a source. `new_files` are
    the files to write with the record, by their names.
    """

    sources: tuple[SearchedSource, ...] = field(default_factory=tuple)
    equal_names_get_paths: Flag = False
    gone: Annotated[tuple[Text, ...] | None, Field(exclude_if=lambda gone: gone is None)] = None
    new_files: Annotated[Mapping[str, bytes], NotInJson] = field(default_factory=dict, compare=False, repr=False)

    @property
    def left(self) -> frozenset[str]:
        """The ids that some source held and none holds any more."""
        return frozenset(_gone(self.sources, inline_ids) if self.gone is None else self.gone)

    def with_search(self, source: str, found: Collection[str], read_ids: ReadIds = inline_ids) -> Searches:
        """Return the record after a search of a source that found these ids.

        `read_ids` returns the ids of a source of this record, also those in a file. Raises what it raises.
        """
        before = next((each for each in self.sources if each.source == source), SearchedSource(source, ()))
        now, files = _searched(source, found)
        if now.present_sha256 is not None and now.present_sha256 == before.present_sha256:
            now, left = before, {*before.left} - {*found}
        else:
            left = {*read_ids(before), *before.left} - {*found}
        now = SearchedSource(source, now.present, tuple(sorted(left)), now.present_sha256)
        others = tuple(each for each in self.sources if each.source != source)
        if now.present_sha256 is None and all(each.present_sha256 is None for each in others):
            return Searches((*others, now), self.equal_names_get_paths)
        gone = _gone((*others, now), lambda each: found if each is now else read_ids(each))
        return Searches((*others, now), self.equal_names_get_paths, tuple(sorted(gone)), files)


def _searched(source: str, found: Collection[str]) -> tuple[SearchedSource, dict[str, bytes]]:
    """Return a source with the ids that it holds, and the file with them if they are many."""
    present = sorted(found)
    if len(present) <= _MOST_INLINE:
        return SearchedSource(source, tuple(present)), {}
    content = json.dumps(present, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    sha256 = hashlib.sha256(content).hexdigest()
    return SearchedSource(source, (), present_sha256=sha256), {sha256: content}


def _gone(sources: Collection[SearchedSource], read_ids: ReadIds) -> set[str]:
    gone = {video_id for each in sources for video_id in each.left}
    for each in sources if gone else ():
        gone.difference_update(read_ids(each))
    return gone


def read_searches(root: Path) -> Searches | None:
    """Return the record, None if there is none. Raises StoreDamagedError and StoreUnreadableError."""
    try:
        return read_document(layout.searches_file(root), _KIND, Searches)
    except FileNotFoundError:
        return None


def read_searched_ids(root: Path, source: SearchedSource) -> Collection[str]:
    """Return the ids that the last search of a source found. Raises StoreDamagedError and StoreUnreadableError."""
    if source.present_sha256 is None:
        return source.present
    path = layout.searched_ids_file(root, source.present_sha256)
    try:
        with reading(path):
            content = path.read_bytes()
    except FileNotFoundError as error:
        refuse(path, _KIND, "this file is missing although the record of searches names it", error)
    if hashlib.sha256(content).hexdigest() != source.present_sha256:
        refuse(path, _KIND, "the content does not match its checksum: it was edited or damaged")
    found: list[str] = json.loads(content)
    return found


def check_searches(root: Path) -> None:
    """Read the record and the files that it names. Raises StoreDamagedError and StoreUnreadableError."""
    searches = read_searches(root)
    try:
        for source in searches.sources if searches is not None else ():
            read_searched_ids(root, source)
    except StoreDamagedError:
        # A run that records its search removes the files of the former record.
        if read_searches(root) == searches:
            raise
        check_searches(root)


def write_searches(root: Path, searches: Searches) -> None:
    """Publish the record and its files, if it has changed. Requires the store's lock."""
    if read_searches(root) == searches:
        return
    for sha256, content in searches.new_files.items():
        with publish(layout.searched_ids_file(root, sha256)) as temporary:
            temporary.write_bytes(content)
    write_document(layout.searches_file(root), _KIND, to_json(searches))
    named = {layout.searched_ids_file(root, each.present_sha256) for each in searches.sources if each.present_sha256}
    for path in list_folder(root / layout.SEARCHES):
        if path not in named:
            remove_file(path)
