"""Stores that this user has extracted to: one that is gone with its disk is not taken for a new one."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from reeldex.storage.atomic import publish_text
from reeldex.storage.errors import StoreVanishedError
from reeldex.storage.remote_path import RemotePath
from reeldex.storage.system_errors import list_folder
from reeldex.user_folders import FolderNotWritableError, make_writable, state_folder

log = logging.getLogger(__name__)


def remember_store(store: Path) -> None:
    """Record that there is a store at this path, and on which disk."""
    try:
        path = _record(store)
        record = {"path": _absolute(store), "device": store.stat().st_dev}
        if _known(store) == (record["device"],):
            return
        make_writable(path.parent, "XDG_STATE_HOME")
        publish_text(path, json.dumps({**record, "since": datetime.now(UTC).isoformat(timespec="seconds")}) + "\n")
    except (OSError, FolderNotWritableError) as error:
        # The extraction does not need it.
        log.info("The store %s is not recorded among this user's stores: %s", store, error)


def require_not_vanished(store: Path, *, expected: bool) -> None:
    """Raise StoreVanishedError if there was a store at this path that is gone, probably with its disk.

    A store that was deleted on the disk it was on may be created again, unless it is `expected` to be there, as by
    a run that is retried. Raises StoreUnreadableError.
    """
    known = _known(store)
    if known is None or list_folder(store):
        return
    if expected or _device(store) not in known:
        raise StoreVanishedError(
            store,
            "It was there in an earlier run. If it was deleted on purpose, start a new run with --new-store "
            "(extract.new_store).",
        )


def _record(store: Path) -> Path:
    name = hashlib.sha256(os.fsencode(_absolute(store))).hexdigest()[:32]
    return state_folder() / "stores" / f"{name}.json"


def _absolute(store: Path) -> str:
    return str(store) if isinstance(store, RemotePath) else os.path.abspath(store)  # noqa: PTH100 - not its target


def _known(store: Path) -> tuple[int] | None:
    """Return the device number of the disk that a store was on; None if no store is known at this path."""
    with suppress(OSError, ValueError, KeyError, TypeError, FolderNotWritableError):
        return (int(json.loads(_record(store).read_bytes())["device"]),)
    return None


def _device(store: Path) -> int | None:
    """Return the device number of the disk that a folder at this path is on, or would be; 0 for one at a URL."""
    if isinstance(store, RemotePath):
        return 0
    for folder in (store, *store.absolute().parents):
        with suppress(FileNotFoundError, NotADirectoryError):
            return folder.stat().st_dev
    return None
