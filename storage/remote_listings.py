"""What object stores hold: entries of folders, asked for in few requests and remembered for a moment.

A listing answers for a thousand files in one request. So the first files of a folder are asked for one by one, and then
the whole folder is listed.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from reeldex.remote_faults import attempted, connected
from reeldex.remote_urls import RemoteUrl
from reeldex.storage.remote_versions import version_of

FRESH_SECONDS = 2.0
"""How long an answer counts. What this process writes, and what another wrote before `forget`, is seen at once."""
FOLDER_MARK = ".folder"
"""The empty object that makes a folder: object stores have none without a file in it."""
_FEW = 3
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class RemoteEntry:
    """A file or a folder: its size, a text that changes with its content, and its time in nanoseconds (0: unknown)."""

    size_bytes: int
    version: str
    modified_ns: int
    is_folder: bool = False


@dataclass(frozen=True)
class _Known:
    since: float
    entries: Mapping[str, RemoteEntry]

    def is_fresh(self) -> bool:
        return time.monotonic() - self.since < FRESH_SECONDS


_guard = threading.Lock()
# Counts what was forgotten: an answer to an older question does not count after that.
_forgotten = 0
# By the URL of the folder. `_FILES` has single answers, also that a file is absent.
_FOLDERS: dict[str, _Known] = {}
_FILES: dict[str, dict[str, tuple[float, RemoteEntry | None]]] = {}


def entries_of(url: RemoteUrl) -> Mapping[str, RemoteEntry]:
    """Return what a folder holds, by name; empty for an absent one. Raises RemoteError."""
    known = _FOLDERS.get(str(url))
    return known.entries if known is not None and known.is_fresh() else entries_now(url)


def entries_now(url: RemoteUrl) -> Mapping[str, RemoteEntry]:
    """Return what a folder holds as `entries_of` does, but always from a new listing."""
    asked, since = _forgotten, time.monotonic()
    system, path = connected(url)
    try:
        listed = attempted(lambda: system.ls(path, detail=True), url)
    except (FileNotFoundError, NotADirectoryError):
        listed = []
    # Some file systems list a file as the only entry of itself, or a folder's own mark.
    own = path.strip("/")
    named = {str(info["name"]).strip("/"): info for info in listed}
    entries = {name[len(own) + 1 :]: _entry(info) for name, info in named.items() if name != own}
    with _guard:
        if asked == _forgotten:
            _FOLDERS[str(url)] = _Known(since, entries)
    return entries


def known_entries(url: RemoteUrl) -> dict[str, RemoteEntry] | None:
    """Return what a folder holds, by name, as far as that has been asked for just now; None otherwise."""
    known = _FOLDERS.get(str(url))
    return dict(known.entries) if known is not None and known.is_fresh() else None


def entry_of(folder: RemoteUrl, name: str) -> RemoteEntry | None:
    """Return an entry of a folder, None if it is absent. Raises RemoteError."""
    known = _FOLDERS.get(str(folder))
    if known is not None and known.is_fresh():
        return known.entries.get(name)
    with _guard:
        files = _FILES.setdefault(str(folder), {})
        now = time.monotonic()
        for stale in [each for each, (since, _) in files.items() if now - since >= FRESH_SECONDS]:
            del files[stale]
    if (answer := files.get(name)) is not None:
        return answer[1]
    if len(files) >= _FEW:
        return entries_of(folder).get(name)
    found = _asked_for(RemoteUrl(folder.scheme, f"{folder.rest}/{name}"))
    files[name] = (now, found)
    return found


def folder_entry(entries: Mapping[str, RemoteEntry]) -> RemoteEntry:
    """Return the entry of a folder with this content.

    Its time is that of its newest file, with a digest of the whole content in place of the fraction of a second: object
    stores keep no time of a folder, and those of files in whole seconds.
    """
    text = "\n".join(f"{name}\t{entry.size_bytes}\t{entry.version}" for name, entry in sorted(entries.items()))
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    newest = max((entry.modified_ns for entry in entries.values()), default=0)
    modified = newest // _SECOND_NS * _SECOND_NS + int(digest[:12], 16) % _SECOND_NS
    return RemoteEntry(0, digest, modified, is_folder=True)


def forget(url: RemoteUrl | None = None) -> None:
    """Drop what is remembered of a file and of the folders it is in, and of all below it; of everything for None."""
    global _forgotten  # noqa: PLW0603 - one count per process, as there is one memory
    with _guard:
        _forgotten += 1
        if url is None:
            _FOLDERS.clear()
            _FILES.clear()
            return
        text = str(url)
        for known in (_FOLDERS, _FILES):
            for folder in [each for each in known if f"{text}/".startswith(f"{each}/") or each.startswith(f"{text}/")]:
                del known[folder]


def _asked_for(url: RemoteUrl) -> RemoteEntry | None:
    system, path = connected(url)
    try:
        info = attempted(lambda: system.info(path), url)
    except FileNotFoundError:
        return None
    return folder_entry(entries_of(url)) if info.get("type") == "directory" else _entry(info)


def _entry(info: Mapping[str, Any]) -> RemoteEntry:
    if info.get("type") == "directory":
        return RemoteEntry(0, "", 0, is_folder=True)
    modified = _nanoseconds(
        next(
            (info[key] for key in ("LastModified", "last_modified", "mtime", "updated", "created") if info.get(key)), 0
        )
    )
    version = version_of(info)
    if version:
        # Some servers list fractions of a second that they leave out where they are asked for the file alone.
        modified = modified // _SECOND_NS * _SECOND_NS
    return RemoteEntry(int(info.get("size") or 0), version.strip('"') or str(modified), modified)


def _nanoseconds(moment: object) -> int:
    """Return a moment as file systems give it: seconds since the epoch, a datetime, or a text in ISO 8601."""
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            return 0
    if isinstance(moment, datetime):
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return int(moment * _SECOND_NS) if isinstance(moment, int | float) else 0
