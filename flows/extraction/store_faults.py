"""Names the store in faults of its disk, and what a shard still needs there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reeldex.storage.errors import StoreError, StoreVanishedError
from reeldex.storage.presence import has_vanished
from reeldex.storage.write_errors import RESERVED_BYTES, UnwritableError, free_bytes, full_disk

if TYPE_CHECKING:
    from reeldex.storage.staging import Staging

# A shard writes at least its outcomes.
_LEAST_BYTES = 4096


@contextmanager
def store_faults(root: Path, needed_bytes: Callable[[], float | None] = lambda: None) -> Iterator[None]:
    """Restate a full disk as one of the store, with the space that is needed; and a vanished store as such.

    Raises UnwritableError and StoreVanishedError; other errors pass.
    """
    try:
        yield
    except UnwritableError as fault:
        if fault.is_full and root.absolute() in fault.path.absolute().parents:
            raise fault.about(root, needed_bytes()) from fault
        raise
    except (OSError, StoreError) as error:
        if has_vanished(root):
            raise StoreVanishedError(root) from error
        raise


def space_needed(videos: int, staged: int, staged_bytes: float, unstaged_bytes: float = 0) -> float | None:
    """Return about the space that a shard of `videos` still needs, of which `staged` fill `staged_bytes`.

    Its other videos are still to be staged, one of which has rows of `unstaged_bytes`; then its feature files repeat
    the rows of all videos. None when no video's size is known.
    """
    known = staged + bool(unstaged_bytes)
    if not known:
        return None
    mean, videos = (staged_bytes + unstaged_bytes) / known, max(videos, known)
    return mean * (videos - staged) + mean * videos + RESERVED_BYTES


def require_space(root: Path, staging: Staging, videos: int) -> None:
    """Raise UnwritableError if a shard of `videos` videos certainly does not fit on the disk of its store.

    Only for its staged videos is the space known: their rows are written once more when the shard is published.
    """
    staged_rows = staging.row_bytes()
    least = staged_rows + RESERVED_BYTES if staged_rows else _LEAST_BYTES
    free = free_bytes(root)
    if free is not None and free < least:
        raise full_disk(root, max(least, space_needed(videos, *staging.usage()) or 0))
