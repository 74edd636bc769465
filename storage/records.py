"""The records of a store beside its shards: what is damaged of them can be set aside, so that the store works again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.atomic import move_file
from reeldex.storage.damage import read_damage
from reeldex.storage.errors import StoreDamagedError
from reeldex.storage.forgotten import read_forgotten
from reeldex.storage.removed import read_removed
from reeldex.storage.searches import Searches, check_searches, write_searches
from reeldex.storage.system_errors import list_folder, look_at

Record = tuple[Path, str, Callable[[], object]]
"""Its path, its kind, and what reads it: that raises StoreDamagedError and StoreUnreadableError."""

LOST = {
    "forgotten": "forgotten videos count again",
    "removed": "removed feature spaces are made again by `reeldex rerun`",
    "searches": "which videos left their source is unknown until they are searched again",
}
"""What a store no longer knows without a record of this kind."""


def records_of(root: Path) -> list[Record]:
    """Return the records of a store, as far as it has them. Raises StoreUnreadableError."""
    found: list[Record] = [
        (layout.forgotten_file(root), "forgotten", partial(read_forgotten, root)),
        (layout.removed_file(root), "removed", partial(read_removed, root)),
        (layout.searches_file(root), "searches", partial(check_searches, root)),
    ]
    found += [
        (path, "damage", partial(read_damage, root, shard))
        for path in list_folder(root / layout.DAMAGE)
        if (shard := layout.parse_shard_stem(path.stem)) is not None
    ]
    return [each for each in found if look_at(each[0]) is not None]


def set_aside_damaged(root: Path) -> list[str]:
    """Rename the damaged records of forgotten videos, removed spaces and searches; return a sentence on each.

    The file stays beside the store's own as `<name>.damaged`. Requires the store's lock. Raises StoreUnreadableError.
    """
    sentences = []
    for path, kind, read in records_of(root):
        try:
            if kind in LOST:
                read()
        except StoreDamagedError:
            aside = path.with_name(f"{path.name}.damaged")
            move_file(path, aside)
            if kind == "searches":
                # Without any record, a store counts as one of an older release, whose ids follow another rule.
                write_searches(root, Searches(equal_names_get_paths=True))
            sentences.append(f"{path} was damaged and is now {aside.name}: {LOST[kind]}.")
    return sentences
