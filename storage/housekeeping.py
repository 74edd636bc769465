"""Creates, recognises and cleans up the folders of a store."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.atomic import make_folder, remove_leftovers
from reeldex.storage.claims import live_tokens
from reeldex.storage.drafts import remove_dead_drafts
from reeldex.storage.errors import NotAStoreError, StoreDamagedError
from reeldex.storage.manifest import read_manifest
from reeldex.storage.outcomes import read_outcomes
from reeldex.storage.remote_path import RemotePath
from reeldex.storage.staging import Staging
from reeldex.storage.system_errors import is_folder, list_folder, look_at
from reeldex.storage.write_errors import require_writable

log = logging.getLogger(__name__)

_LOCKS_OF_OLDER_RELEASES = (".lock", ".lock-holder.json")
_NEEDED = (layout.MANIFEST, layout.FEATURES, layout.OUTCOMES)


def require_folders(path: Path) -> None:
    """Raise NotAStoreError unless the folder is a store; StoreUnreadableError where it cannot be read."""
    absent = [name for name in _NEEDED if not is_folder(path / name)] if is_folder(path) else list(_NEEDED)
    if absent:
        state = "no such directory" if look_at(path) is None else "it is not a directory"
        if is_folder(path):
            state = f"it lacks the folders {', '.join(absent)}"
        raise NotAStoreError(
            f"{path} is not a feature store: {state}. `reeldex extract SOURCE --store {path}` creates a store; if you "
            "meant another folder, check the path."
        )


def create_folders(path: Path) -> None:
    """Create a store in an absent or empty folder; raises NotAStoreError for any other folder that is not a store."""
    if look_at(path) is not None and not is_folder(path):
        raise NotAStoreError(f"{path} is a file, not a folder. Pass the path of a store with --store.")
    present = {entry.name for entry in list_folder(path)}
    # A store whose creation was killed has some of the folders, and nothing else.
    if foreign := sorted(present - {*layout.FOLDERS, layout.CLAIMS, *_LOCKS_OF_OLDER_RELEASES}):
        if set(_NEEDED) <= present:
            return
        raise NotAStoreError(
            f"{path} is not a feature store and not empty: it contains {', '.join(foreign[:3])}. Pass an empty or new "
            "folder with --store, or remove its content."
        )
    for name in layout.FOLDERS:
        if name != layout.STAGING:
            make_folder(path / name)
    make_folder(layout.staging_root(path))
    if isinstance(path, RemotePath):
        (path / layout.MANIFEST).require_conditional_writes()


def require_writable_folders(path: Path) -> None:
    """Raise UnwritableError if a folder of a store may not be written by this user; writes nothing."""
    names = (*layout.FOLDERS, layout.CLAIMS)
    folders = [path, *(path / name for name in names), *list_folder(path / layout.FEATURES)]
    for folder in folders:
        if is_folder(folder):
            require_writable(folder)


def sweep(path: Path) -> None:
    """Remove leftovers of killed runs: temporaries, and staged videos that are damaged or that outcomes include.

    Requires the store's lock, or a run that plans and is the only one.
    """
    remove_temporaries(path)
    for shard in layout.staged_shards(path):
        sweep_shard(path, shard)


def remove_temporaries(path: Path) -> None:
    """Remove temporaries of killed runs, except those in the workspaces of live claims.

    Requires the store's lock, or a run that plans, perhaps beside others: runs write through workspaces.
    """
    staging = layout.staging_root(path)
    folders = [staging, *(folder for folder in list_folder(staging) if is_folder(folder))]
    if isinstance(path, RemotePath):
        # There, nothing has a temporary name.
        remove_dead_drafts()
    else:
        folders += [path, *(path / name for name in (*layout.FOLDERS, layout.CLAIMS) if name != layout.STAGING)]
        folders += [folder for folder in list_folder(path / layout.FEATURES) if is_folder(folder)]
    for folder in folders:
        remove_leftovers(folder, functools.partial(live_tokens, path))


def sweep_shard(path: Path, shard: int) -> None:
    """Remove staged videos of a shard that are damaged or that its outcomes include. Requires the shard's claim."""
    _discard_damaged(path, shard)
    _clear_absorbed(path, shard)


def _discard_damaged(path: Path, shard: int) -> None:
    manifest = layout.manifest_file(path, shard)
    if look_at(manifest) is None:
        return
    for problem in Staging(path, shard).discard_damaged(read_manifest(manifest)):
        log.warning("Shard %05d: %s", shard, problem)


def _clear_absorbed(path: Path, shard: int) -> None:
    try:
        outcomes = read_outcomes(path, shard)
        left = outcomes is None or Staging(path, shard).positions(without=outcomes.absorbed)
    except StoreDamagedError:
        # `FeatureStore.shard_state` reports it, and until then no staged video may be lost.
        return
    if not left:
        Staging(path, shard).clear()
