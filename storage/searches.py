"""The record of the sources that were searched for a store: which videos each held, and which have left it since."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.documents import read_document, write_document
from reeldex.storage.json_codec import Flag, Text, to_json

_KIND = "searches"


@dataclass(frozen=True)
class SearchedSource:
    """The ids that the last search of a source found, and those that only earlier ones did, sorted."""

    source: Text
    present: tuple[Text, ...]
    left: tuple[Text, ...] = ()


@dataclass(frozen=True)
class Searches:
    """All sources of a store, and whether the id rule `auto` gives files with equal names their paths in it."""

    sources: tuple[SearchedSource, ...] = field(default_factory=tuple)
    equal_names_get_paths: Flag = False

    @property
    def left(self) -> frozenset[str]:
        """The ids that some source held and none holds any more."""
        left = frozenset(video_id for each in self.sources for video_id in each.left)
        return left.difference(*(each.present for each in self.sources))

    def with_search(self, source: str, found: Collection[str]) -> Searches:
        """Return the record after a search of a source that found these ids."""
        before = next((each for each in self.sources if each.source == source), SearchedSource(source, ()))
        left = {*before.present, *before.left} - set(found)
        now = SearchedSource(source, tuple(sorted(found)), tuple(sorted(left)))
        others = tuple(each for each in self.sources if each.source != source)
        return Searches((*others, now), self.equal_names_get_paths)


def read_searches(root: Path) -> Searches | None:
    """Return the record, None if there is none. Raises StoreDamagedError and StoreUnreadableError."""
    try:
        return read_document(layout.searches_file(root), _KIND, Searches)
    except FileNotFoundError:
        return None


def write_searches(root: Path, searches: Searches) -> None:
    """Publish the record, if it has changed. Requires the store's lock."""
    if read_searches(root) != searches:
        write_document(layout.searches_file(root), _KIND, to_json(searches))
