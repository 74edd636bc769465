"""The record of damage that a verification found, until the shard's files are written again.

A file whose size is right looks intact without reading all of it. What `verify` finds by reading is recorded here, so
that a rerun knows of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.atomic import remove_file
from reeldex.storage.documents import read_document, refuse, write_document
from reeldex.storage.errors import StoreDamagedError
from reeldex.storage.json_codec import Integer, Text, to_json
from reeldex.storage.outcomes import ShardOutcomes
from reeldex.storage.presence import require_present
from reeldex.storage.system_errors import list_folder

_KIND = "damage"


@dataclass(frozen=True)
class DamagedFile:
    """A damaged feature file: the SHA-256 that it should have, and the videos with damaged rows.

    Without `videos`, what is damaged is not the rows but the structure of the file.
    """

    sha256: Text
    videos: tuple[Text, ...] = ()


@dataclass(frozen=True)
class ShardDamage:
    """The damaged feature files of one shard, by feature space."""

    shard: Integer
    files: Mapping[str, DamagedFile]


def read_damage(root: Path, shard: int) -> ShardDamage | None:
    """Return the recorded damage of a shard, None if there is none; raises StoreDamagedError, StoreUnreadableError."""
    path = layout.damage_file(root, shard)
    try:
        damage = read_document(path, _KIND, ShardDamage)
    except FileNotFoundError:
        return None
    if damage.shard != shard:
        refuse(path, _KIND, f"the file says that it belongs to shard {damage.shard}")
    return damage


def damaged_files(root: Path, outcomes: ShardOutcomes | None) -> dict[str, DamagedFile]:
    """Return the recorded damage of the files that these outcomes name, by feature space.

    A record of a file that has been written again since does not count: it expects another SHA-256.
    """
    damage = read_damage(root, outcomes.shard) if outcomes is not None else None
    if damage is None or outcomes is None:
        return {}
    return {
        space: file
        for space, file in damage.files.items()
        if space in outcomes.files and outcomes.files[space].sha256 == file.sha256
    }


def record_findings(
    root: Path, damaged: Mapping[int, Mapping[str, DamagedFile]], intact: Collection[tuple[int, str]]
) -> None:
    """Record the feature files that a verification found damaged, by shard and feature space.

    Earlier records of files that it found `intact` are removed; those of files that it could not read remain. Raises
    UnwritableError, and StoreVanishedError when the store is gone.
    """
    require_present(root)
    recorded = {layout.parse_shard_stem(path.stem) for path in list_folder(root / layout.DAMAGE)}
    for shard in sorted({*damaged, *(shard for shard in recorded if shard is not None)}):
        found = damaged.get(shard, {})
        try:
            before = read_damage(root, shard)
        except StoreDamagedError:
            before = None
            _clear(root, shard)
        earlier = dict(before.files) if before else {}
        kept = {space: file for space, file in earlier.items() if (shard, space) not in intact}
        _write(root, shard, earlier, {**kept, **found})


def _write(root: Path, shard: int, before: Mapping[str, DamagedFile], after: Mapping[str, DamagedFile]) -> None:
    if not after:
        _clear(root, shard)
    elif after != before:
        body = to_json(ShardDamage(shard, dict(sorted(after.items()))))
        write_document(layout.damage_file(root, shard), _KIND, {name: body[name] for name in ("shard", "files")})


def forget_damage(root: Path, shard: int, spaces: Collection[str]) -> None:
    """Remove the record of a shard's files in feature spaces in which they have been written again."""
    try:
        damage = read_damage(root, shard)
    except StoreDamagedError:
        # Nobody can read what it says of other files; the next verification finds it again.
        _clear(root, shard)
        return
    if damage is not None:
        left = {space: file for space, file in damage.files.items() if space not in spaces}
        _write(root, shard, damage.files, left)


def _clear(root: Path, shard: int) -> None:
    remove_file(layout.damage_file(root, shard))
