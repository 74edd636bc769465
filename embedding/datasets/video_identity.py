"""Which names of a data set mean the same video."""

from __future__ import annotations

from collections.abc import Iterable

from reeldex.storage.video_names import name_without_suffix


class VideoIdentity:
    """Tells the videos of a set apart by their names.

    Names that differ only in folders or a video file's extension mean one video. Where the same name stands in several
    folders, or with several extensions, these are different videos.
    """

    def __init__(self, names: Iterable[str]) -> None:
        folders: dict[str, str] = {}
        suffixes: dict[str, str] = {}
        self._in_folders: set[str] = set()
        self._with_suffixes: set[str] = set()
        for name in names:
            folder, rest, suffix = _parts(name)
            if folder and folders.setdefault(rest, folder) != folder:
                self._in_folders.add(rest)
            if suffix and suffixes.setdefault(rest, suffix) != suffix:
                self._with_suffixes.add(rest)

    def of(self, name: str) -> str:
        """Return the video that a name means."""
        folder, rest, suffix = _parts(name)
        return f"{folder if rest in self._in_folders else ''}{rest}{suffix if rest in self._with_suffixes else ''}"


def _parts(name: str) -> tuple[str, str, str]:
    """Return folder, name without a video file's extension, and that extension in lower case."""
    folder, slash, file = name.rpartition("/")
    rest = name_without_suffix(name)
    return folder + slash, rest, file[len(rest) :].lower()
