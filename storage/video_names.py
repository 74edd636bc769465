"""The names of videos: an id of a store, and that id without folders and without a video file's extension."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from reeldex.containers import TEXT_SUFFIXES
from reeldex.storage.manifest import Spellings


def name_without_suffix(video_id: str) -> str:
    """Return a video's name in data sets: without folders and without a video file's extension."""
    return _without_suffix(video_id.rsplit("/", 1)[-1])


def _without_suffix(video_id: str) -> str:
    name, dot, ending = video_id.rpartition(".")
    return name if name and f"{dot}{ending.lower()}" in TEXT_SUFFIXES else video_id


class KnownVideos:
    """The ids of stored features, looked up by the names that data sets use.

    Accents in two Unicode forms (NFC, NFD) are one spelling, unless an id is known in exactly this one.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = set(ids)
        self._spellings = Spellings(self._ids)
        self.by_name: dict[str, list[str]] = {}
        for video_id in sorted(self._ids):
            self.by_name.setdefault(_composed(name_without_suffix(video_id)), []).append(video_id)

    def meant(self, video_id: str) -> list[str]:
        """Return the ids that a data set's name can refer to: exactly one, unless it is unknown or ambiguous."""
        bare = _without_suffix(video_id)
        for name in (video_id, bare):
            if (known := self._spellings.of(name)) in self._ids:
                return [known]
        found = self.by_name.get(_composed(bare), [])
        # A name with another extension is another video.
        same = {_composed(video_id), _composed(bare)}
        return [each for each in found if bare == video_id or _composed(each.rpartition("/")[2]) in same]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
