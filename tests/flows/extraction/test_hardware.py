"""The machines that an estimate is for."""

from __future__ import annotations

import pytest

from reeldex.flows.extraction.hardware import Hardware


@pytest.mark.parametrize(
    ("machines", "shards", "share"),
    [(1, 0, 1.0), (1, 7, 1.0), (4, 1, 1.0), (4, 4, 0.25), (4, 5, 0.4), (2, 5, 0.6), (100_000, 8, 0.125)],
)
def test_the_busiest_machine_takes_whole_shards(machines: int, shards: int, share: float) -> None:
    assert Hardware(machines=machines).busiest_share(shards) == share
