"""The options of decoding that a store was planned and extracted with, which a rerun uses without being told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from reeldex.errors import UsageError
from reeldex.extractors.fingerprint import DECODE
from reeldex.extractors.options import DecodeOptions
from reeldex.storage.errors import FingerprintError, StoreError

if TYPE_CHECKING:
    from reeldex.flows.extraction.plan import ShardTask
    from reeldex.storage.manifest import ShardManifest
    from reeldex.storage.schema import FeatureSpace
    from reeldex.storage.store import FeatureStore

Definition = Mapping[str, Any]
"""`DecodeOptions.definition()`: empty if all options are at their defaults."""


def with_recorded_decoding(
    store: FeatureStore, tasks: Sequence[ShardTask], given: DecodeOptions
) -> tuple[ShardTask, ...]:
    """Return the tasks of a rerun with the options of decoding that are recorded of their shards.

    Raises FingerprintError for options, other than the defaults, that are `given` and differ, and UsageError for a
    shard with features of different ones.
    """
    settings = _Recorded(store)
    found = []
    for task in tasks:
        recorded = settings.of_shard(store.manifest(task.shard), task.spaces)
        if given.definition() == recorded:
            found.append(replace(task, decode=given))
        elif given.definition():
            raise _difference(store, task.shard, recorded, given.definition())
        else:
            found.append(replace(task, decode=_options(recorded)))
    return tuple(found)


def require_planned_decoding(store: FeatureStore, tasks: Sequence[ShardTask], given: DecodeOptions) -> None:
    """Raise FingerprintError if incomplete shards of a store were planned with other options of decoding.

    Only for spaces without features: those of others are compared with their fingerprints. Shards that record no
    options, as those of older releases, fit all.
    """
    settings = _Recorded(store)
    for task in tasks:
        manifest = store.manifest(task.shard)
        planned = [space for space in task.spaces if space in manifest.spaces and settings.of_space(space) is None]
        if planned and manifest.decode and manifest.decode != given.definition():
            raise _difference(store, task.shard, manifest.decode, given.definition())


class _Recorded:
    """What a store records of decoding, each feature space looked up once."""

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._found: dict[str, FeatureSpace | None] = {}

    def of_space(self, space: str) -> Definition | None:
        """Return the options that the features of a space were decoded with; None if it has no features yet."""
        if space not in self._found:
            self._found[space] = self._store.recorded_space(space)
        found = self._found[space]
        decode = found.fingerprint.get(DECODE, {}) if found is not None else None
        return decode if isinstance(decode, Mapping) else None

    def of_shard(self, manifest: ShardManifest, spaces: Sequence[str]) -> Definition:
        """Return the options for a shard: those of the features in its spaces, else those that it was planned with.

        Raises UsageError if its spaces differ.
        """
        made = {space: self.of_space(space) for space in spaces}
        found = {space: dict(decode) for space, decode in made.items() if decode is not None}
        if manifest.decode or not found:
            # Manifests of older releases record no options: then all spaces have those of the others.
            found |= {space: dict(manifest.decode) for space, decode in made.items() if decode is None}
        first, *others = found.items() or [("", dict(manifest.decode))]
        for space, decode in others:
            if decode != first[1]:
                raise UsageError(
                    f"Shard {manifest.shard} of {self._store.path} needs {first[0]} decoded with {_words(first[1])}, "
                    f"and {space} with {_words(decode)}, which one run cannot do. Run `reeldex extract` with one "
                    "extractor and its options at a time."
                )
        return first[1]


def _options(definition: Definition) -> DecodeOptions:
    try:
        return DecodeOptions.of_definition(definition)
    except ValidationError as error:
        raise StoreError(
            f"The store was planned with options of decoding that this release does not know ({_words(definition)}). "
            "Use the release that planned it, or a newer one."
        ) from error


def _difference(store: FeatureStore, shard: int, recorded: Definition, given: Definition) -> FingerprintError:
    return FingerprintError(
        f"Shard {shard} of {store.path} was planned or extracted with {_words(recorded)}, this run has "
        f"{_words(given)}, and the two must not mix. Run with the same options as before (`reeldex rerun` uses them by "
        "itself), or select another folder with --store."
    )


def _words(definition: Definition) -> str:
    listed = ", ".join(f"decode.{name} = {value}" for name, value in sorted(definition.items()))
    return listed or "all options of decoding at their defaults"
