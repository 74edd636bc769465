"""Small files of an object store that are read one after the other are fetched together, before they are asked for."""

from __future__ import annotations

import threading

from reeldex.remote_faults import attempted, connected
from reeldex.remote_urls import RemoteUrl
from reeldex.storage import remote_listings as listings
from reeldex.storage.remote_listings import RemoteEntry

_TOGETHER = 32
_MOST_BYTES = 32 << 20
_SUFFIX = ".json"

_guard = threading.Lock()
# By the URL of the folder: the file that was read last, and what was fetched of those after it, with its version.
_LAST: dict[str, str] = {}
_AHEAD: dict[str, dict[str, tuple[str, bytes]]] = {}


def content_ahead(folder: RemoteUrl, name: str, entry: RemoteEntry) -> bytes | None:
    """Return the content of a file in a folder if this version of it was fetched ahead; None otherwise.

    When the file before it, in the order of names, was read last, it and those after it are fetched now. Raises
    RemoteError.
    """
    known = listings.known_entries(folder)
    if known is None or not name.endswith(_SUFFIX):
        return None
    with _guard:
        last, _LAST[str(folder)] = _LAST.get(str(folder)), name
        found = _AHEAD.get(str(folder), {}).pop(name, None)
    if found is None:
        names = sorted(each for each in known if each.endswith(_SUFFIX))
        at = names.index(name) if name in known else 0
        if at == 0 or names[at - 1] != last:
            return None
        fetched = _fetched(folder, names[at : at + _TOGETHER], known)
        found = fetched.pop(name, None)
        with _guard:
            _AHEAD[str(folder)] = fetched
    return found[1] if found is not None and found[0] == entry.version else None


def _fetched(folder: RemoteUrl, names: list[str], known: dict[str, RemoteEntry]) -> dict[str, tuple[str, bytes]]:
    wanted: list[str] = []
    size_bytes = 0
    for name in names:
        size_bytes += known[name].size_bytes
        if wanted and size_bytes > _MOST_BYTES:
            break
        wanted.append(name)
    system, path = connected(folder)
    paths = [f"{path}/{name}" for name in wanted]
    # What fails is read again when it is asked for, and then has its error.
    # Unlike `cat`, which asks one after the other at Azure.
    answers = attempted(lambda: system.cat_ranges(paths, None, None, on_error="return"), folder)
    pairs = zip(wanted, answers, strict=True)
    return {name: (known[name].version, content) for name, content in pairs if isinstance(content, bytes)}
