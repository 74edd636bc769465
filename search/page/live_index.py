"""The open index, reloaded when it is rebuilt, and the keys of its videos in the page's addresses."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reeldex.embedding.errors import EmbeddingError
from reeldex.search.errors import SearchError
from reeldex.search.page.problems import not_found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reeldex.search.page.searcher import KnownVideo, Searcher

log = logging.getLogger(__name__)


def video_key(video_id: str) -> str:
    """Return the key of a video: the same for every index that holds it, and no part of any path."""
    return hashlib.blake2b(video_id.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()


@dataclass(frozen=True)
class IndexSnapshot:
    """One opened index; `stale` says why a newer one could not be opened, if so."""

    searcher: Searcher
    by_key: Mapping[str, KnownVideo]
    stale: str = ""

    @classmethod
    def of(cls, searcher: Searcher) -> IndexSnapshot:
        """Return keys to all videos of an index."""
        return cls(searcher, {video_key(video_id): video for video_id, video in searcher.videos().items()})

    def video(self, key: str) -> KnownVideo:
        """Return the video of a key. Raises Problem (404)."""
        try:
            return self.by_key[key]
        except KeyError:
            raise not_found("The index has no such video. It may have been removed; search again.") from None


class LiveIndex:
    """Holds the snapshot in use and looks for a newer index from time to time; safe to use from several threads."""

    def __init__(self, searcher: Searcher, refresh_seconds: float) -> None:
        self._snapshot = IndexSnapshot.of(searcher)
        self._refresh_seconds = refresh_seconds
        self._looked = time.monotonic()
        self._looking = threading.Lock()

    @property
    def snapshot(self) -> IndexSnapshot:
        """The snapshot in use, without a look for a newer one."""
        return self._snapshot

    def fresh_snapshot(self) -> IndexSnapshot:
        """Return the newest snapshot; an index that cannot be opened leaves the one in use, and says so in `stale`.

        Blocks while an index is being opened; who comes meanwhile is answered from the one in use.
        """
        if self._looking.acquire(blocking=False):
            try:
                if time.monotonic() - self._looked >= self._refresh_seconds:
                    self._look()
                    self._looked = time.monotonic()
            finally:
                self._looking.release()
        return self._snapshot

    def _look(self) -> None:
        snapshot = self._snapshot
        try:
            newest = snapshot.searcher.refreshed()
        except (SearchError, EmbeddingError, OSError) as error:
            if str(error) != snapshot.stale:
                log.warning("The page answers from the index it has open: %s", error)
            self._snapshot = IndexSnapshot(snapshot.searcher, snapshot.by_key, stale=str(error))
            return
        if newest is not snapshot.searcher:
            self._snapshot = IndexSnapshot.of(newest)
        elif snapshot.stale:
            self._snapshot = IndexSnapshot(snapshot.searcher, snapshot.by_key)
