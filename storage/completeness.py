"""Which shards of a large store an earlier inspection found complete, with the same files as now."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from reeldex.storage import layout
from reeldex.storage.catalog import Catalog
from reeldex.storage.derived import DerivedRows, RowKind
from reeldex.storage.inspection import Inspection, shard_versions
from reeldex.storage.schema import FeatureSpace
from reeldex.storage.system_errors import FileVersion, require_readable

_KIND = RowKind("complete")


class CompleteShards:
    """The shards known to be complete in feature spaces: whoever goes through a store need not open their files.

    An inspection opens each feature file, which takes some 10 ms; of 5,000 shards, a minute.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._rows = DerivedRows(catalog.root, catalog.shard_count())
        self._cached = self._rows.read(_KIND)
        self._staged = frozenset(layout.staged_shards(catalog.root))
        self._new: dict[int, tuple[str, bytes]] = {}

    def has(self, shard: int, spaces: Sequence[FeatureSpace]) -> bool:
        """Whether a shard is known to be complete, which it no longer is once one of its files is another.

        Raises StoreUnreadableError for a feature file that cannot be read, as an inspection does.
        """
        if shard not in self._cached or shard in self._staged:
            return False
        versions = shard_versions(self._catalog.root, shard, spaces)
        if self._cached[shard][0] != self._stated(shard, versions, spaces):
            return False
        for space in spaces:
            require_readable(layout.features_file(self._catalog.root, space.name, shard))
        return True

    def add(self, inspection: Inspection) -> None:
        """Note a shard if this inspection found it complete."""
        state = inspection.state()
        if state.done and not state.problems and not state.staged_positions and not inspection.pending(()):
            stated = self._stated(state.shard, inspection.versions, inspection.spaces)
            self._new[state.shard] = (stated, b"")

    def keep(self) -> None:
        """Add the shards that were noted to the cache."""
        self._rows.write(_KIND, self._new)

    def _stated(self, shard: int, versions: Collection[FileVersion | None], spaces: Sequence[FeatureSpace]) -> str:
        """Return all that the completeness of a shard depends on, in short."""
        settings = [(space.name, space.fingerprint_json()) for space in spaces]
        about = f"{tuple(versions)} {settings} {sorted(self._catalog.uncounted(shard))}"
        return hashlib.sha256(about.encode("utf-8", "surrogatepass")).hexdigest()
