"""The interface of an index that the page uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from reeldex.search.results import SearchResults


class KnownVideo(Protocol):
    """A video that the index names; `path` is its file, or empty where none is known."""

    @property
    def video_id(self) -> str: ...  # noqa: D102 - the protocol's docstring says what they are
    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def duration_seconds(self) -> float: ...  # noqa: D102


class About(Protocol):
    """The size of an index."""

    @property
    def moments(self) -> int: ...  # noqa: D102
    @property
    def videos(self) -> int: ...  # noqa: D102


class Searcher(Protocol):
    """An open, thread-safe index. Its errors are those of `search.errors`."""

    def search(self, sentence: str, k: int = 10, *, merge: bool = True, videos: str | None = None) -> SearchResults:
        """Return the moments that match a sentence best, among videos whose id matches the shell pattern `videos`."""
        ...

    def like(
        self, video_id: str, at_seconds: float, k: int = 10, *, merge: bool = True, videos: str | None = None
    ) -> SearchResults:
        """Return the moments most similar to the one of a video at a time."""
        ...

    def videos(self) -> Mapping[str, KnownVideo]:
        """Return all videos of the index by id."""
        ...

    def refreshed(self) -> Self:
        """Return itself, or the reopened index if it was rebuilt since."""
        ...

    def about(self) -> About:
        """Return the size of the index."""
        ...
