"""The open index, reloaded when it is rebuilt, and the keys of its videos in the page's URLs."""

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
    """Return the key of a video: the same in every index that contains it, and not part of any path."""
    return hashlib.blake2b(video_id.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()


@dataclass(frozen=True)
class IndexSnapshot:
    """One opened index; `stale` is the reason why a newer one could not be opened, if any."""

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
    """Keeps the current snapshot and checks periodically for a newer index; thread-safe."""

    def __init__(self, searcher: Searcher, refresh_seconds: float) -> None:
        self._snapshot = IndexSnapshot.of(searcher)
        self._refresh_seconds = refresh_seconds
        self._looked = time.monotonic()
        self._looking = threading.Lock()

    @property
    def snapshot(self) -> IndexSnapshot:
        """The current snapshot, without checking for a newer one."""
        return self._snapshot

    def fresh_snapshot(self) -> IndexSnapshot:
        """Return the newest snapshot; if a newer index cannot be opened, the current one with the reason in `stale`.

        Blocks while an index is being opened; concurrent callers get the current snapshot.
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
