"""What a store of trial features is made with and holds."""

from __future__ import annotations

from pathlib import Path

from reeldex.storage.store import FeatureStore

RANDOM = ("--weights", "random")
WIDE = (*RANDOM, "--extractors", "wide2d,wide3d")
"""Tiny networks with rows as wide as the real ones, for what is not about their numbers (`tests/networks`)."""
WIDE_SPACES = ("wide2d.random", "wide3d.random")

SPACES = ("resnet152.random", "resnext101_3d.random")


def outcomes(store: Path) -> dict[str, tuple[str, str | None]]:
    """File name -> (status, reason) of the outcomes of all shards; one that stands twice is an error."""
    found: dict[str, tuple[str, str | None]] = {}
    opened = FeatureStore(store)
    for manifest in opened.manifests():
        shard = opened.outcomes(manifest.shard)
        assert shard is not None
        for each in shard.videos:
            name = Path(each.path).name
            assert name not in found
            found[name] = (each.status, each.reason)
    return found
