"""Whether a store is still where it was: the disk of a running extraction can be unmounted."""

from __future__ import annotations

from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.errors import StoreVanishedError


def has_vanished(root: Path) -> bool:
    """Whether a store that was there before is gone. A store that may not be looked at has not vanished."""
    try:
        return not (root / layout.MANIFEST).is_dir()
    except OSError:
        return False


def require_present(root: Path) -> None:
    """Raise StoreVanishedError unless the store is there.

    To be called before folders are created in a store: an empty mount point must not be filled with a second one.
    """
    if has_vanished(root):
        raise StoreVanishedError(root)
