"""A store whose shards were decoded with several versions of ffmpeg says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reeldex.storage.ffmpeg_versions import mixture
from reeldex.storage.schema import FeatureSpace
from reeldex.storage.store import FeatureStore

Act = Callable[..., Any]


@pytest.mark.parametrize("versions", [{}, {"5.1.9": 3}])
def test_one_version_is_no_mixture(versions: dict[str, int]) -> None:
    assert mixture(versions) is None


def test_versions_are_counted_by_shard(store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace) -> None:
    grow("a", "b", "c", "d", videos_per_shard=1)
    fill(0, publish=False)
    store.publish_shard(0, [two_d], provenance={"ffmpeg": "5.1.9"}, seconds_of_work=1.0)
    fill(1, publish=False)
    store.publish_shard(1, [two_d], provenance={"ffmpeg": "9.0.2"}, seconds_of_work=1.0)
    fill(2)  # imported, say: it names no version
    assert store.ffmpeg_versions() == store.status().ffmpeg_versions == {"5.1.9": 1, "9.0.2": 1}
    said = mixture(store.ffmpeg_versions())
    assert said is not None
    assert "5.1.9 (1), 9.0.2 (1)" in said
