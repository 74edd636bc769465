"""Which versions of ffmpeg decoded the videos of a store: some files differ between versions."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping

from reeldex.storage.catalog import Catalog
from reeldex.storage.errors import StoreDamagedError
from reeldex.storage.outcomes import ShardOutcomes


def versions_of(outcomes: Iterable[ShardOutcomes | None]) -> dict[str, int]:
    """Return the number of shards by the version of ffmpeg that decoded them last; without those that name none."""
    named = [each.provenance.get("ffmpeg") for each in outcomes if each is not None]
    return dict(sorted(Counter(version for version in named if isinstance(version, str)).items()))


def store_versions(catalog: Catalog) -> dict[str, int]:
    """Return the number of shards of a store by the version of ffmpeg, without those whose outcomes are damaged.

    Raises StoreUnreadableError.
    """
    return versions_of(_outcomes(catalog, manifest.shard) for manifest in catalog.manifests())


def _outcomes(catalog: Catalog, shard: int) -> ShardOutcomes | None:
    # A run must be able to start that repairs them; whoever inspects the shard reports the damage.
    with contextlib.suppress(StoreDamagedError):
        return catalog.outcomes(shard)
    return None


def mixture(versions: Mapping[str, int]) -> str | None:
    """Return the sentence on a store with features of several versions of ffmpeg; None if there are not several."""
    if len(versions) < 2:
        return None
    listed = ", ".join(f"{version} ({count})" for version, count in versions.items())
    return (
        f"The shards were decoded with several versions of ffmpeg: {listed}. A few files have different frames in "
        "each: compare videos only within one version, or extract all again with one."
    )
