"""The videos of a run's sources: folders, single files, lists, and quoted patterns of these."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from reeldex.containers import VIDEO_SUFFIXES
from reeldex.errors import InfrastructureError, PermanentFaultError, UsageError
from reeldex.flows.config.fetching import FetchConfig
from reeldex.flows.config.pipeline import ExtractConfig
from reeldex.flows.extraction.addresses import address_of, joined, path_in
from reeldex.flows.extraction.file_names import printable, spelled_as_on_disk
from reeldex.flows.extraction.folders import FolderSearch, expand
from reeldex.flows.extraction.lists import LIST_SUFFIXES, ListedVideo, read_list
from reeldex.flows.extraction.patterns import PathFilter, has_pattern
from reeldex.flows.extraction.remote_sources import files_at, is_single_video
from reeldex.flows.extraction.search_notes import NoteKind, SearchNote, SearchTally
from reeldex.flows.extraction.video_ids import FoundFile, KnownIds, assign_ids
from reeldex.flows.fetching import looking
from reeldex.flows.fetching.looking import look_at_all
from reeldex.flows.fetching.services import Services
from reeldex.remote_urls import is_url
from reeldex.storage.schema import Span, VideoEntry


@dataclass(frozen=True)
class FoundVideos:
    """Videos of a source: `videos` to process now, and `unsettled` ones that may still be being written.

    `notes` count what the search passed over, and files with equal names. `listed_seconds` are the lengths that lists
    state, by path.
    """

    videos: list[VideoEntry]
    unsettled: list[VideoEntry]
    notes: tuple[SearchNote, ...] = ()
    listed_seconds: Mapping[str, float] = field(default_factory=dict)


def find_videos(
    source: str | Sequence[str],
    options: ExtractConfig,
    known: Callable[[Sequence[FoundFile]], KnownIds] = lambda _: KnownIds(),
    services: Services | None = None,
    *,
    ask_about_new: bool = True,
) -> FoundVideos:
    """Return the videos of the sources, in the order of their paths (of a list: in its own order).

    A folder is searched with its subfolders, also linked ones, for files with a video's ending; hidden files and
    folders are skipped. A list is described by `read_list`; relative paths in it are relative to its folder. A source
    that does not exist and contains `*`, `?` or `[` is a pattern. Sources and paths in lists may be URLs, whose
    `services` are asked. `known` returns what the store knows of the files. Without `ask_about_new`, no service is
    asked about listed files that the store does not know, of which nothing is known then.
    Raises UsageError if there is nothing to extract, and InfrastructureError for a service that does not work.
    """
    sources = [source] if isinstance(source, str) else list(source)
    services = services or Services(FetchConfig())
    tally = SearchTally()
    patterns = PathFilter(options.include, options.exclude)
    files = _once([list(each) for each in _searched(sources, patterns, tally, services)])
    if not files:
        raise UsageError(_nothing_found(sources, tally))
    known_files = known(files)
    asked_about = {file.path for file in files if ask_about_new or file.place in known_files.by_place}
    files = _with_facts(files, asked_about, services)
    ids = assign_ids(files, options.video_id, known_files, lambda path: exists(path, services), tally)
    listed = {file.path: file.seconds for file in files if file.seconds is not None}
    entries = [_entry(file, each) for file, each in zip(files, ids, strict=True)]
    if not options.settle_seconds:
        return FoundVideos(entries, [], tally.notes(), listed)
    latest_ns = time.time_ns() - int(options.settle_seconds * 1e9)
    settled = [_changed_ns(file) <= latest_ns for file in files]
    return FoundVideos(
        [entry for entry, is_settled in zip(entries, settled, strict=True) if is_settled],
        [entry for entry, is_settled in zip(entries, settled, strict=True) if not is_settled],
        tally.notes(),
        listed,
    )


def exists(path: str, services: Services) -> bool:
    """Return whether there is a file at a path or URL."""
    return looking.exists(path, services) if is_url(path) else os.path.exists(path)  # noqa: PTH110


def _searched(
    sources: Sequence[str], patterns: PathFilter, tally: SearchTally, services: Services
) -> Iterator[Iterator[FoundFile]]:
    """Yield the files of each source; of a pattern, those of each path that it stands for."""

    def listed(url: str, rows: list[ListedVideo]) -> Iterator[FoundFile]:
        return _listed(url, rows, patterns, tally)

    for source in sources:
        if is_url(source) and not os.path.lexists(source):
            yield files_at(source, patterns, tally, services, listed)
        else:
            yield from (_files_of(path, patterns, tally) for path in _resolved(source, tally))


def _with_facts(files: Sequence[FoundFile], asked_about: Collection[str], services: Services) -> list[FoundFile]:
    """Return the files with what their services say of those at URLs, of the paths in `asked_about`."""
    urls = [file.path for file in files if is_url(file.path) and file.remote is None and file.path in asked_about]
    try:
        facts = look_at_all(urls, services)
    except InfrastructureError as error:
        where = next((file.where for file in files if file.where and str(error).startswith(f"{file.path} ")), "")
        if not where or isinstance(error, PermanentFaultError):  # that of a whole service
            raise
        raise InfrastructureError(f"{where}: {error}") from error
    return [replace(file, remote=facts[file.path]) if file.path in facts else file for file in files]


def _once(found: Sequence[Sequence[FoundFile]]) -> list[FoundFile]:
    """Return the files of all sources, which may overlap: each, or each clip of one, as of the first source of it.

    One that a list gives an id counts before others.
    """
    sources = sorted(found, key=lambda files: not any(file.given_id for file in files))
    taken: set[tuple[str, Span | None]] = set()
    kept: set[int] = set()
    for files in sources:
        new = [file for file in files if (file.path, file.span) not in taken]
        kept.update(map(id, new))
        taken.update((file.path, file.span) for file in new)
    return [file for files in found for file in files if id(file) in kept]


def require_source(source: str) -> None:
    """Raise UsageError if a source does not exist, or is a pattern that matches nothing; of a URL, if it is invalid."""
    if is_url(source):
        address_of(source)
    else:
        _resolved(source, SearchTally())


def is_searched(source: str) -> bool:
    """Whether the content of a source can change: a folder, a list or a pattern; not a single video."""
    if is_url(source):
        return not is_single_video(source)
    path = Path(source)
    return path.is_dir() or path.suffix.lower() in LIST_SUFFIXES or not path.exists()


def _changed_ns(file: FoundFile) -> int:
    """Return when a file changed last: the time of its inode, which every write sets and copying cannot preserve.

    Of a file at a URL, the time that its service states.
    """
    if is_url(file.path):
        return (file.remote.modified_ns or 0) if file.remote is not None else 0
    try:
        return os.stat(file.path).st_ctime_ns  # noqa: PTH116 - a str path keeps bytes that are not UTF-8
    except OSError:
        return 0  # missing: the extraction records it as this video's outcome


def entry_now(video_id: str, path: str, span: Span | None = None) -> VideoEntry:
    """Return the entry of a video with its file's current size in bytes and modification time in nanoseconds."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a str path keeps bytes that are not UTF-8
    except OSError:
        # Missing or unreachable: the extraction records it as this video's outcome.
        return VideoEntry(video_id, path, None, None, span=span)
    return VideoEntry(video_id, path, status.st_size, status.st_mtime_ns, span=span)


def _entry(file: FoundFile, video_id: str) -> VideoEntry:
    try:
        if is_url(file.path):
            # As a local file: of a missing one neither is known.
            size, version = (None, None) if file.remote is None else (file.remote.size_bytes or 0, file.remote.version)
            return VideoEntry(video_id, file.path, size, version, span=file.span)
        return entry_now(video_id, file.path, file.span)
    except ValueError as error:
        raise UsageError(f"{file.where or printable(file.path)}: {error}") from error


def _resolved(source: str, tally: SearchTally) -> list[Path]:
    """Return the paths that a source stands for: itself, or those that match its pattern. Raises UsageError."""
    if os.path.lexists(source):
        return [Path(source)]
    spelled = spelled_as_on_disk(source)
    if os.path.lexists(spelled):
        return [Path(spelled)]
    if has_pattern(source):
        paths = expand(source, tally)
        if paths:
            return paths
        raise UsageError(f"There is no file or folder {source!r}, and as a pattern it matches no folder and no video.")
    raise UsageError(f"There is no file or folder {source!r}. Name a folder of videos, a video, or a list.")


def _files_of(path: Path, patterns: PathFilter, tally: SearchTally) -> Iterator[FoundFile]:
    name = Path(os.path.abspath(path)).name  # noqa: PTH100 - links stay as the user named them
    if path.is_dir():
        try:
            for file, relative in FolderSearch(path, patterns, tally).files():
                yield FoundFile(_absolute(file), relative, name)
        except OSError as error:
            raise UsageError(f"The folder {str(path)!r} cannot be read: {error.strerror}.") from error
    elif path.suffix.lower() in LIST_SUFFIXES:
        yield from _listed(path, read_list(path), patterns, tally)
    elif patterns.admits(path.name):
        yield FoundFile(_absolute(path), path.name, Path(_absolute(path)).parent.name, is_listed=True)
    else:
        tally.add(NoteKind.EXCLUDED, printable(str(path)))


def _listed(
    listing: Path | str, rows: Sequence[ListedVideo], patterns: PathFilter, tally: SearchTally
) -> Iterator[FoundFile]:
    """Yield the files of a list's rows; of a list at a URL, that is `listing`."""
    folder = _absolute(listing.parent) if isinstance(listing, Path) else listing.rpartition("/")[0]
    for row in rows:
        where = f"{listing}, line {row.line}"
        try:
            path = _path_of_row(row, folder)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error
        relative = _below(path, folder)
        if not patterns.admits(relative):
            tally.add(NoteKind.EXCLUDED, printable(relative))
            continue
        name = folder.rstrip("/").rpartition("/")[2]
        yield FoundFile(
            path,
            relative,
            name,
            is_listed=True,
            given_id=row.video_id,
            span=row.span,
            where=where,
            seconds=row.seconds,
        )


def _path_of_row(row: ListedVideo, folder: str) -> str:
    """Return the absolute path or the URL that a row of a list in a folder names. Raises UsageError for a bad URL."""
    if is_url(row.path):
        return address_of(row.path)
    return joined(folder, row.path.strip()) if is_url(folder) else _absolute(_on_disk(folder, row.path))


def _below(path: str, folder: str) -> str:
    """Return a path as it is below the folder of its list, or the whole path."""
    if path.startswith(folder.rstrip("/") + "/"):
        return path_in(path)[len(path_in(folder)) + 1 :] if is_url(path) else os.path.relpath(path, folder)
    return path_in(path) if is_url(path) else path.strip("/")


def _on_disk(folder: str, written: str) -> Path:
    """Return the path of a listed video: as written if that exists, else without spaces around it."""
    exact = os.path.join(folder, written)  # noqa: PTH118
    if os.path.lexists(exact):
        return Path(exact)
    return Path(spelled_as_on_disk(os.path.join(folder, written.strip())))  # noqa: PTH118


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - links stay as the user named them


def _nothing_found(sources: Sequence[str], tally: SearchTally) -> str:
    named = ", ".join(f"{'the folder ' if Path(each).is_dir() else ''}{each!r}" for each in sources)
    notes = "; ".join(str(note) for note in tally.notes())
    passed_over = f" Passed over: {notes}." if notes else ""
    return (
        f"There are no videos in {named}.{passed_over} Recognised endings: {', '.join(sorted(VIDEO_SUFFIXES))}; "
        "name other files in a list, or with --include '*.ENDING'."
    )
