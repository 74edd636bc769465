"""The names of videos: an id of a store, and that id without folders and without a video file's extension."""

from __future__ import annotations

from collections.abc import Iterable

_VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts")


def name_without_suffix(video_id: str) -> str:
    """Return a video's name in data sets: without folders and without a video file's extension."""
    return _without_suffix(video_id.rsplit("/", 1)[-1])


def _without_suffix(video_id: str) -> str:
    for suffix in _VIDEO_SUFFIXES:
        if video_id.lower().endswith(suffix) and len(video_id) > len(suffix):
            return video_id[: -len(suffix)]
    return video_id


class KnownVideos:
    """The ids of stored features, looked up by the names that data sets use."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = set(ids)
        self.by_name: dict[str, list[str]] = {}
        for video_id in sorted(self._ids):
            self.by_name.setdefault(name_without_suffix(video_id), []).append(video_id)

    def meant(self, video_id: str) -> list[str]:
        """Return the ids that a data set's name can refer to: exactly one, unless it is unknown or ambiguous."""
        if video_id in self._ids:
            return [video_id]
        if (bare := _without_suffix(video_id)) in self._ids:
            return [bare]
        found = self.by_name.get(bare, [])
        # A name with another extension is another video.
        return [each for each in found if bare == video_id or each.rpartition("/")[2] in {video_id, bare}]
