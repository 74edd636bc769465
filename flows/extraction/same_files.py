"""Whether another machine sees the store and the videos that the machine of the run sees."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.errors import InfrastructureError, UsageError
from reeldex.remote_urls import is_url

if TYPE_CHECKING:
    from reeldex.storage.store import FeatureStore

_REMEDY = "Mount store and videos under the same paths on every machine of the cluster."


def absolute(path: str | Path) -> str:
    """Return a path that names the same file in any working folder; an address as it is."""
    return str(path) if is_url(str(path)) else str(Path(path).expanduser().absolute())


def video_seen_here(store: FeatureStore, shard: int) -> str:
    """Return the path of a video of a shard that exists on this machine; empty if none of the first few does."""
    entries = store.manifest(shard).videos[:10]
    return next((entry.path for entry in entries if Path(entry.path).is_absolute() and _exists(entry.path)), "")


def require_store_folder(path: str) -> None:
    """Raise UsageError if the folder of the store is not there."""
    if not is_url(path) and not Path(path).is_dir():
        raise UsageError(f"The folder of the store, {path}, does not exist on {socket.gethostname()}. {_REMEDY}")


def require_same_files(store: FeatureStore, shard: int, videos: int, seen: str) -> None:
    """Raise UsageError if `seen`, a video that the machine of the run sees, does not exist on this one.

    InfrastructureError if the store lacks the shard's manifest, which a network file system may show with a delay.
    """
    here = socket.gethostname()
    if shard >= store.shard_count() or len(store.manifest(shard).videos) != videos:
        raise InfrastructureError(
            f"The store {store.path} on {here} does not have shard {shard:05d} of {videos} videos, which the run has "
            f"planned: it is another folder, or its file system shows new files with a delay. {_REMEDY}"
        )
    if seen and not _exists(seen):
        raise UsageError(
            f"{seen} does not exist on {here}, but on the machine of the run it does: its video would count as "
            f"missing. {_REMEDY}"
        )


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises in a folder that may not be read
