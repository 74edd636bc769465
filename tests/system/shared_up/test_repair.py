"""Faults of the disk and damage, on a real server: found, reported and repaired without touching the store by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo
from tests.small_disk import SmallDisk, small_disk
from tests.system.running import ReeldexUp


@pytest.fixture(scope="module")
def disk(up: ReeldexUp, make_video: MakeVideo) -> Iterator[SmallDisk]:
    """A disk on which one of the three shards of `rows` fits."""
    for at in range(6):
        make_video(up.folder / "rows" / f"v{at}.mp4", seconds=6.0, size="64x64", rate=5)
    yield from small_disk(up.folder / "small", 290)


@pytest.fixture
def complete_store(up: ReeldexUp, disk: SmallDisk) -> Path:
    """A complete store on that disk."""
    disk.resize(4000)
    store = disk.folder / "store"
    # Otherwise the test of a full disk has filled it.
    if not (store / "manifest").exists() or FeatureStore(store).status().pending:
        assert up.ended(up.launch("extract/extract", source="rows", store="small/store"))["type"] == "COMPLETED"
    return store


def _damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-20_000:-19_936] = bytes(each ^ 0xFF for each in content[-20_000:-19_936])
    file.write_bytes(content)


def test_a_full_disk_ends_the_run_at_once_and_retry_continues(up: ReeldexUp, disk: SmallDisk) -> None:
    run = up.launch("extract/extract", source="rows", store="small/store")
    state = up.ended(run)
    assert state["type"] == "FAILED"
    assert state["message"].startswith("The disk holding small/store is full: ")
    assert "this shard needs about" in state["message"]
    assert "1 shard LOST: 00001; 1 shard left, because the run ended early" in state["message"]
    assert up.worked_on(run) == [(0, 2), (1, 2)], "no retry, and no further shard"
    assert not any("Traceback" in line["message"] or "errno" in line["message"] for line in up.log(run))
    assert "Shards left" in up.artifacts(run)["Summary"]["data"]

    disk.resize(4000)
    assert up.retry(run)["name"] == "Completed"
    assert [shard for shard, _ in up.worked_on(run)[2:]] == [1, 2]
    assert len(FeatureStore(up.folder / "small" / "store")) == 6


def test_damage_is_found_by_verify_and_repaired_by_rerun_failed(up: ReeldexUp, complete_store: Path) -> None:
    file = complete_store / "features" / "wide2d.random" / "shard-00001.h5"
    _damage(file)
    assert up.ended(up.launch("rerun-failed/rerun-failed", store="small/store"))["name"] == "Nothing new"
    found = up.launch("verify/verify", store="small/store")
    assert up.ended(found)["type"] == "FAILED"
    damage = up.table(found, "Damages")[0]
    assert damage["file"] == "features/wide2d.random/shard-00001.h5"
    assert damage["what to do"].startswith("Run the deployment `rerun-failed`")
    repair = up.launch("rerun-failed/rerun-failed", store="small/store")
    assert up.ended(repair)["name"] == "Completed"
    assert up.worked_on(repair) == [(1, 2)]
    assert up.ended(up.launch("verify/verify", store="small/store"))["name"] == "Completed"


@pytest.mark.usefixtures("complete_store")
def test_a_chosen_set_is_extracted_again_from_the_form(up: ReeldexUp) -> None:
    chosen = up.launch("rerun-failed/rerun-failed", store="small/store", shards=[0], videos=["v5"])
    assert up.ended(chosen)["name"] == "Completed"
    assert up.worked_on(chosen) == [(0, 2), (2, 1)]
    unknown = up.launch("rerun-failed/rerun-failed", store="small/store", shards=[9])
    state = up.ended(unknown)
    assert (state["type"], "has no shard 9; it has 3 shards" in state["message"]) == ("FAILED", True)
