"""The videos of a run's sources: folders, single files, lists, and quoted patterns of these."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from reeldex.containers import VIDEO_SUFFIXES
from reeldex.errors import UsageError
from reeldex.flows.config.pipeline import ExtractConfig
from reeldex.flows.extraction.file_names import is_url, printable, spelled_as_on_disk
from reeldex.flows.extraction.folders import FolderSearch, expand
from reeldex.flows.extraction.lists import LIST_SUFFIXES, read_list
from reeldex.flows.extraction.patterns import PathFilter, has_pattern
from reeldex.flows.extraction.search_notes import NoteKind, SearchNote, SearchTally
from reeldex.flows.extraction.video_ids import FoundFile, KnownIds, assign_ids
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
) -> FoundVideos:
    """Return the videos of the sources, in the order of their paths (of a list: in its own order).

    A folder is searched with its subfolders, also linked ones, for files with a video's ending; hidden files and
    folders are skipped. A list is described by `read_list`; relative paths in it are relative to its folder. A source
    that does not exist and contains `*`, `?` or `[` is a pattern. `known` returns what the store knows of the files.
    Raises UsageError if there is nothing to extract.
    """
    sources = [source] if isinstance(source, str) else list(source)
    tally = SearchTally()
    patterns = PathFilter(options.include, options.exclude)
    files = _once([list(_files_of(path, patterns, tally)) for each in sources for path in _resolved(each, tally)])
    if not files:
        raise UsageError(_nothing_found(sources, tally))
    ids = assign_ids(files, options.video_id, known(files), os.path.exists, tally)
    listed = {file.path: file.seconds for file in files if file.seconds is not None}
    return FoundVideos([_entry(file, each) for file, each in zip(files, ids, strict=True)], [], tally.notes(), listed)


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


def find_settled_videos(
    source: str | Sequence[str],
    options: ExtractConfig,
    known: Callable[[Sequence[FoundFile]], KnownIds] = lambda _: KnownIds(),
) -> FoundVideos:
    """Find videos as `find_videos` does, and separate those that were modified within `settle_seconds`.

    Uses the time of the last inode change (ctime), which every write sets and copying programs cannot preserve.
    """
    found = find_videos(source, options, known)
    if not options.settle_seconds:
        return found
    latest_ns = time.time_ns() - int(options.settle_seconds * 1e9)
    settled = [_changed_ns(entry.path) <= latest_ns for entry in found.videos]
    return replace(
        found,
        videos=[entry for entry, is_settled in zip(found.videos, settled, strict=True) if is_settled],
        unsettled=[entry for entry, is_settled in zip(found.videos, settled, strict=True) if not is_settled],
    )


def require_source(source: str) -> None:
    """Raise UsageError if a source does not exist, or is a pattern that matches nothing."""
    _resolved(source, SearchTally())


def is_searched(source: str) -> bool:
    """Whether the content of a source can change: a folder, a list or a pattern; not a single video."""
    path = Path(source)
    return path.is_dir() or path.suffix.lower() in LIST_SUFFIXES or not path.exists()


def _changed_ns(path: str) -> int:
    try:
        return os.stat(path).st_ctime_ns  # noqa: PTH116 - a str path keeps bytes that are not UTF-8
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
        return entry_now(video_id, file.path, file.span)
    except ValueError as error:
        raise UsageError(f"{file.where or printable(file.path)}: {error}") from error


def _resolved(source: str, tally: SearchTally) -> list[Path]:
    """Return the paths that a source stands for: itself, or those that match its pattern. Raises UsageError."""
    if os.path.lexists(source):
        return [Path(source)]
    if is_url(source):
        raise UsageError(
            f"{source!r} is a URL. reeldex reads files of this machine: download the videos, or mount their storage, "
            "and name the folder."
        )
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
        yield from _listed(path, patterns, tally)
    elif patterns.admits(path.name):
        yield FoundFile(_absolute(path), path.name, Path(_absolute(path)).parent.name, is_listed=True)
    else:
        tally.add(NoteKind.EXCLUDED, printable(str(path)))


def _listed(listing: Path, patterns: PathFilter, tally: SearchTally) -> Iterator[FoundFile]:
    folder = _absolute(listing.parent)
    for row in read_list(listing):
        path = _absolute(_on_disk(folder, row.path))
        below = path.startswith(folder.rstrip("/") + "/")
        relative = os.path.relpath(path, folder) if below else path.strip("/")
        if not patterns.admits(relative):
            tally.add(NoteKind.EXCLUDED, printable(relative))
            continue
        where = f"{listing}, line {row.line}"
        yield FoundFile(
            path,
            relative,
            Path(folder).name,
            is_listed=True,
            given_id=row.video_id,
            span=row.span,
            where=where,
            seconds=row.seconds,
        )


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
