"""The folder of an index during a build: a lock for one builder, and cleanup after killed ones."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from reeldex.search.errors import IndexBusyError, SearchError
from reeldex.search.generation import INDEX
from reeldex.storage.atomic import is_leftover, make_folder, remove_leftovers
from reeldex.storage.errors import StoreBusyError
from reeldex.storage.lock import HOLDER, LOCK, hold_lock

_OURS = re.compile(r"(segment|structure|videos)-\d{5,}\.[a-z.]+")


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the lock of an index, created if absent, while the block runs; the system releases it when its holder ends.

    Raises IndexBusyError, and SearchError for a folder with other content.
    """
    try:
        make_folder(folder)
        foreign = [path.name for path in folder.iterdir() if not _is_ours(path.name)]
    except OSError as error:
        raise SearchError(f"The folder {folder} for an index cannot be created: {error}. Use another one.") from error
    if foreign and not (folder / INDEX).exists():
        raise SearchError(
            f"{folder} is not an index and not empty: it contains {', '.join(sorted(foreign)[:3])}. Use an empty or a "
            "new folder."
        )
    with ExitStack() as stack:
        try:
            stack.enter_context(hold_lock(folder, 0, "index"))
        except StoreBusyError as busy:
            raise IndexBusyError(str(busy)) from busy
        yield


def sweep(folder: Path, in_use: Collection[str]) -> None:
    """Remove files of earlier states and of killed builds; call it while holding the lock."""
    remove_leftovers(folder)
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in in_use:
            path.unlink()


def _is_ours(name: str) -> bool:
    return name in {LOCK, HOLDER, INDEX} or is_leftover(name) or _OURS.fullmatch(name) is not None
