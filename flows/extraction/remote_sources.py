"""The videos of sources at URLs: folders of object stores, single files, and lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from reeldex.errors import UsageError
from reeldex.flows.extraction.addresses import address_of, file_name, is_web_folder, path_in
from reeldex.flows.extraction.file_names import printable
from reeldex.flows.extraction.folders import has_video_ending
from reeldex.flows.extraction.lists import LIST_SUFFIXES, ListedVideo, list_suffix, read_list
from reeldex.flows.extraction.patterns import PathFilter, has_pattern
from reeldex.flows.extraction.search_notes import NoteKind, SearchTally
from reeldex.flows.extraction.video_ids import FoundFile
from reeldex.flows.fetching.faults import FetchError
from reeldex.flows.fetching.looking import asked, content_of
from reeldex.flows.fetching.remote_file import RemoteFile
from reeldex.remote_urls import RemoteUrl, carries_credentials, redacted

if TYPE_CHECKING:
    from reeldex.flows.fetching.object_store import ObjectFiles
    from reeldex.flows.fetching.services import Services

_MOST_LIST_BYTES = 1 << 30

ListedFiles = Callable[[str, list[ListedVideo]], Iterator[FoundFile]]


def is_single_video(url: str) -> bool:
    """Whether a source at a URL is a video by its form, whose content does not change as that of a folder does."""
    if list_suffix(url) in LIST_SUFFIXES:
        return False
    return RemoteUrl.parse(url).is_web or has_video_ending(file_name(url))


def files_at(
    source: str, patterns: PathFilter, tally: SearchTally, services: Services, listed: ListedFiles
) -> Iterator[FoundFile]:
    """Yield the videos of a source at a URL; `listed` returns those of the rows of a list.

    A folder is searched with its subfolders; hidden files and folders are skipped. Raises UsageError for a source that
    does not exist or cannot be read.
    """
    url = address_of(source)
    if list_suffix(url) in LIST_SUFFIXES:
        yield from listed(url, read_list(url, _list_content(url, services)))
    elif RemoteUrl.parse(url).is_web:
        if is_web_folder(url):
            raise UsageError(
                f"{redacted(url)} is a folder of the web, which cannot be listed. Give the URL of a video, or a list "
                "of such URLs."
            )
        yield from _single(url, None, patterns, tally)
    else:
        yield from _of_store(url.rstrip("/"), patterns, tally, services)


def _list_content(url: str, services: Services) -> bytes:
    try:
        return content_of(url, services, _MOST_LIST_BYTES)
    except FetchError as error:
        raise UsageError(f"The list {url} cannot be read. {error}") from error


def _single(url: str, found: RemoteFile | None, patterns: PathFilter, tally: SearchTally) -> Iterator[FoundFile]:
    name = file_name(url)
    if patterns.admits(name):
        parent = path_in(url).rpartition("/")[0] or RemoteUrl.parse(url).place
        yield FoundFile(url, name, parent.rpartition("/")[2], is_listed=True, remote=found)
    else:
        tally.add(NoteKind.EXCLUDED, printable(url))


def _of_store(url: str, patterns: PathFilter, tally: SearchTally, services: Services) -> Iterator[FoundFile]:
    try:
        # Some clients connect when they are made.
        store = asked(url, services, lambda _: services.store(RemoteUrl.parse(url)))
        entry = asked(url, services, lambda patience: store.entry(url, patience))
    except FetchError as error:
        advice = "Patterns do not work in URLs: name the folder, and the files with --include."
        raise UsageError(
            f"The source {url} cannot be read. {error.what_happened} {advice if has_pattern(url) else error.what_to_do}"
        ) from error
    if entry.get("type") == "directory":
        yield from _StoreSearch(url, store, patterns, tally, services).files()
    else:
        yield from _single(url, RemoteFile.from_listing(entry), patterns, tally)


class _StoreSearch:
    """A search of one folder of an object store with its subfolders, in order of their names."""

    def __init__(
        self, url: str, store: ObjectFiles, patterns: PathFilter, tally: SearchTally, services: Services
    ) -> None:
        self._url = url
        self._store = store
        self._patterns = patterns
        self._tally = tally
        self._services = services
        self._name = url.rpartition("/")[2]

    def files(self) -> Iterator[FoundFile]:
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            folders = []
            for name, entry in self._entries(folder):
                relative = f"{folder}/{name}" if folder else name
                if name.startswith("."):
                    self._tally.add(NoteKind.HIDDEN, printable(relative))
                elif entry.get("type") == "directory":
                    if self._patterns.admits_folder(relative):
                        folders.append(relative)
                    else:
                        self._tally.add(NoteKind.EXCLUDED, printable(relative) + "/")
                elif self._takes(name, relative):
                    remote = RemoteFile.from_listing(entry)
                    yield FoundFile(f"{self._url}/{relative}", relative, self._name, remote=remote)
            waiting += reversed(folders)

    def _entries(self, folder: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the names and entries directly in a folder, sorted."""
        url = f"{self._url}/{folder}".rstrip("/")
        try:
            entries = asked(url, self._services, lambda patience: self._store.entries(url, patience), brief=False)
        except FetchError as error:
            if not folder:
                raise UsageError(f"The folder {url} cannot be read. {error}") from error
            self._tally.add(NoteKind.UNREADABLE_FOLDER, printable(folder))
            return []
        inside = self._store.path(url).rstrip("/") + "/"
        found = []
        for entry in entries:
            name = str(entry["name"]).removeprefix(inside)
            if name and "/" not in name and name not in {".", ".."}:
                found.append((name, entry))
            elif entry.get("type") == "directory":
                # Two slashes in a row: no URL leads there.
                self._tally.add(NoteKind.UNREADABLE_FOLDER, printable(f"{folder}/{name}/"))
        return sorted(found, key=lambda each: each[0])

    def _takes(self, name: str, relative: str) -> bool:
        if has_video_ending(name, self._patterns.endings):
            url = f"{self._url}/{relative}"
            if not self._patterns.admits(relative):
                self._tally.add(NoteKind.EXCLUDED, printable(relative))
            elif carries_credentials(url):
                self._tally.add(NoteKind.LIKE_CREDENTIALS, printable(redacted(url)))
            else:
                return True
        else:
            dot, ending = name.rpartition(".")[1:]
            self._tally.add_other_ending(printable(relative), printable(f"{dot}{ending}".lower() if dot else ""))
        return False
