"""The videos of a SOURCE: a folder, one file, or a list in a .csv or .txt file."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reeldex.errors import UsageError
from reeldex.flows.config.pipeline import ExtractConfig, VideoIdRule
from reeldex.storage.schema import VideoEntry

# File name suffixes of videos when a folder is searched. A list may name any file.
VIDEO_SUFFIXES = frozenset(
    ".3g2 .3gp .asf .avi .divx .dv .f4v .flv .gif .h264 .h265 .hevc .ivf .m1v .m2ts .m2v .m4v .mjpeg .mkv .mov .mp4 "  # noqa: SIM905 - a list of 36 lines would read worse
    ".mpe .mpeg .mpg .mts .mxf .ogm .ogv .qt .rm .rmvb .ts .vob .webm .wmv .y4m".split()
)
_PATH_COLUMNS = ("video_path", "path")
_ID_COLUMN = "video_id"


def find_videos(source: str, rule: VideoIdRule) -> list[VideoEntry]:
    """Return the videos of `source`, in the order of their paths (of a list: in its own order).

    A folder is searched with its subfolders for files with a video suffix; hidden files and folders are
    skipped. A `.txt` list contains one path per line, a `.csv` list the column `video_path` or `path` and optionally
    `video_id`; relative paths are relative to the list's folder. Raises UsageError if there is nothing to extract.
    """
    path = Path(source)
    if path.is_dir():
        entries = [_entry(_id_in_folder(path, file, rule), file) for file in _files_below(path)]
        if not entries:
            raise UsageError(
                f"There are no videos in the folder {source!r}. Recognised suffixes: "
                f"{', '.join(sorted(VIDEO_SUFFIXES))}; name other files in a .txt list."
            )
        return entries
    if not path.exists():
        raise UsageError(f"There is no file or folder {source!r}. Name a folder of videos, a video, or a list.")
    if path.suffix.lower() in (".csv", ".txt"):
        rows = _csv_rows(path) if path.suffix.lower() == ".csv" else _txt_rows(path)
        entries = [_listed(path, line, video_path, video_id) for line, video_path, video_id in rows]
        if not entries:
            raise UsageError(f"The list {source!r} names no video.")
        return entries
    return [_entry(_stem(path), path)]


@dataclass(frozen=True)
class FoundVideos:
    """Videos of a source: `videos` to process now, and `unsettled` ones that may still be being written."""

    videos: list[VideoEntry]
    unsettled: list[VideoEntry]


def find_settled_videos(source: str, options: ExtractConfig) -> FoundVideos:
    """Find videos as `find_videos` does, and separate those that were modified within `settle_seconds`.

    Uses the time of the last inode change (ctime), which every write sets and copying programs cannot preserve.
    """
    found = find_videos(source, options.video_id)
    if not options.settle_seconds:
        return FoundVideos(found, [])
    latest_ns = time.time_ns() - int(options.settle_seconds * 1e9)
    settled = [_changed_ns(entry.path) <= latest_ns for entry in found]
    return FoundVideos(
        [entry for entry, is_settled in zip(found, settled, strict=True) if is_settled],
        [entry for entry, is_settled in zip(found, settled, strict=True) if not is_settled],
    )


def _changed_ns(path: str) -> int:
    try:
        return os.stat(path).st_ctime_ns  # noqa: PTH116 - a str path keeps bytes that are not UTF-8
    except OSError:
        return 0  # missing: the extraction records it as this video's outcome


def entry_now(video_id: str, path: str) -> VideoEntry:
    """Return the entry of a video with its file's current size in bytes and modification time in nanoseconds."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a str path keeps bytes that are not UTF-8
    except OSError:
        # Missing or unreachable: the extraction records it as this video's outcome.
        return VideoEntry(video_id, path, None, None)
    return VideoEntry(video_id, path, status.st_size, status.st_mtime_ns)


def printable(text: str) -> str:
    """Return `text` with bytes that are not UTF-8 escaped by a backslash, for ids and messages."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _entry(video_id: str, path: Path) -> VideoEntry:
    return entry_now(video_id, os.path.abspath(path))  # noqa: PTH100 - links stay as the user named them


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES:  # noqa: PTH122
                yield Path(parent, name)


def _id_in_folder(folder: Path, file: Path, rule: VideoIdRule) -> str:
    if rule is VideoIdRule.STEM:
        return _stem(file)
    return printable(file.relative_to(folder).as_posix())


def _stem(file: Path) -> str:
    # "..mp4" has the stem ".", which is not a valid id: its full name is its id.
    return printable(file.stem if file.stem.strip(".") else file.name)


def _listed(listing: Path, line: int, video_path: str, video_id: str | None) -> VideoEntry:
    path = listing.parent / video_path
    try:
        return _entry(video_id or _stem(path), path)
    except ValueError as error:
        raise UsageError(f"{listing}, line {line}: {error}") from error


def _txt_rows(listing: Path) -> Iterator[tuple[int, str, str | None]]:
    for number, text in enumerate(_text_of(listing).split("\n"), start=1):
        line = text.rstrip("\r")
        if line.strip():
            yield number, line, None


def _csv_rows(listing: Path) -> Iterator[tuple[int, str, str | None]]:
    reader = csv.DictReader(_text_of(listing).splitlines(keepends=True), strict=True)
    columns = list(reader.fieldnames or [])
    path_column = next((name for name in _PATH_COLUMNS if name in columns), None)
    if path_column is None:
        raise UsageError(
            f"The list {listing} has no column {' or '.join(_PATH_COLUMNS)}; it has: {', '.join(columns) or 'none'}."
        )
    try:
        for row in reader:
            if not row[path_column]:
                raise UsageError(f"{listing}, line {reader.line_num}: the column {path_column} is empty.")
            yield reader.line_num, row[path_column], row.get(_ID_COLUMN) or None
    except csv.Error as error:
        raise UsageError(f"{listing}, line {reader.line_num}: not valid CSV: {error}.") from error


def _text_of(listing: Path) -> str:
    try:
        # File names that are not UTF-8 are preserved.
        return listing.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"The list {listing} cannot be read: {error.strerror}.") from error
