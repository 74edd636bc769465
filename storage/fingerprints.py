"""The settings that a store's features were made with; features of other settings must not join them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from reeldex.storage import layout
from reeldex.storage.damage import damaged_files
from reeldex.storage.errors import StoreDamagedError, StoreUnreadableError
from reeldex.storage.outcomes import read_outcomes
from reeldex.storage.schema import FeatureSpace
from reeldex.storage.shard import ShardReader
from reeldex.storage.staging import Staging, fingerprint_error
from reeldex.storage.system_errors import is_folder, list_folder, look_at


def published_space(root: Path, space: str) -> tuple[Path, FeatureSpace] | None:
    """Return a feature file of a space, and the space with its settings as that file records it; None without any.

    Raises StoreUnreadableError when the space has files and the system does not allow reading any of them.
    """
    return next(_published(root, space), None)


def recorded_space(root: Path, space: str) -> FeatureSpace | None:
    """Return a space with the settings of its published features, else of staged ones; None if it has neither.

    Raises StoreUnreadableError.
    """
    if published := published_space(root, space):
        return published[1]
    for shard in layout.staged_shards(root):
        staging = Staging(root, shard)
        for position in staging.positions():
            with suppress(KeyError, StoreDamagedError):
                if (staged := staging.spaces(position).get(space)) is not None:
                    return staged
    return None


def require_fingerprints(root: Path, spaces: Sequence[FeatureSpace]) -> None:
    """Raise FingerprintError when published or staged features of one of these spaces have other settings."""
    for space in spaces:
        found = published_space(root, space.name)
        if found and found[1] != space:
            raise fingerprint_error(*found, space)
    for shard in layout.staged_shards(root):
        staging = Staging(root, shard)
        for position in staging.positions():
            try:
                staged = staging.spaces(position)
            except (KeyError, StoreDamagedError):
                # Published since by another process; or damaged, which the inspection of the shard reports.
                continue
            for space in spaces:
                if staged.get(space.name, space) != space:
                    raise fingerprint_error(layout.staging_folder(root, shard), staged[space.name], space)


def _published(root: Path, space: str) -> Iterator[tuple[Path, FeatureSpace]]:
    unreadable: StoreUnreadableError | None = None
    opened = False
    for path in list_folder(root / layout.FEATURES / space):
        if path.suffix != ".h5" or layout.parse_shard_stem(path.stem) is None:
            continue
        try:
            if is_folder(path) or _structure_is_damaged(root, path, space):
                continue
            with ShardReader(path) as reader:
                held = reader.space
        except StoreUnreadableError as error:
            # Another file of the space records the same.
            unreadable = unreadable or error
            continue
        except (FileNotFoundError, StoreDamagedError):
            # `shard_state` and `verify` report it; another file of the space records the same.
            continue
        if held.name == space:
            opened = True
            yield path, held
    if unreadable and not opened:
        raise unreadable


def _structure_is_damaged(root: Path, path: Path, space: str) -> bool:
    """Whether a verification found that more than rows are damaged in this feature file: its settings may be, too."""
    shard = layout.parse_shard_stem(path.stem)
    if shard is None or look_at(layout.damage_file(root, shard)) is None:
        return False
    try:
        damage = damaged_files(root, read_outcomes(root, shard))
    except StoreDamagedError:
        # The record or the outcomes are damaged, which says nothing about this file.
        return False
    return space in damage and not damage[space].videos
