from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reeldex.flows.extraction.store_history import RunEnd, is_page_of, store_key, store_page, store_sentence
from reeldex.storage.status import StoreStatus
from reeldex.storage.store import FeatureStore

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture
def status(tmp_path: Path) -> StoreStatus:
    empty = FeatureStore(tmp_path / "s", create=True).status()
    return replace(
        empty,
        shards_total=16,
        shards_done=15,
        videos_total=33,
        ok=30,
        failed_by_reason={"unreadable": 2},
        pending=1,
        bytes_per_space={"resnet152.random": 8_600_000},
    )


@pytest.mark.parametrize(
    ("folder", "key"),
    [
        ("/a/Kitchen videos_2", "reeldex-store-kitchen-videos-2"),
        ("/a/features", "reeldex-store-features"),
        ("/a/---", "reeldex-store-"),
        ("/a/\u7279\u5fb4", "reeldex-store-"),
    ],
)
def test_a_store_has_a_key_that_prefect_takes(folder: str, key: str) -> None:
    found = store_key(Path(folder))
    assert found.startswith(key)
    assert found.removeprefix("reeldex-store-").replace("-", "").isalnum()
    assert found.isascii()
    assert found == found.lower()
    assert store_key(Path(folder), taken=True) != store_key(Path("/b") / Path(folder).name, taken=True)


def test_each_run_adds_a_row_newest_first(status: StoreStatus) -> None:
    first = store_page(Path("/a|b/s"), status, RunEnd("extract 1", AT, 60.0, 20.0))
    second = store_page(Path("/a|b/s"), status, RunEnd("verify | 2", AT), first)
    assert "| Failed: unreadable | 2 |" in second
    assert "| Not extracted yet | 1 |" in second
    rows = second.splitlines()[-2:]
    assert rows[0].startswith("| 2026-01-02 03:04 | verify \\| 2 | 15 of 16 | 30 of 33 | 2 unreadable, 1 not extracted")
    assert rows[0].endswith("| 8.6 MB | - |")
    assert rows[1].endswith("| 8.6 MB | 3.00 s of video per second |")
    page = second
    for number in range(300):
        page = store_page(Path("/a|b/s"), status, RunEnd(f"extract {number}", AT), page)
    assert page.count("| extract ") == 100
    assert is_page_of(Path("/a|b/s"), page)
    assert not is_page_of(Path("/a|b/other/s"), page)


def test_a_table_of_another_release_is_not_continued(status: StoreStatus) -> None:
    page = store_page(Path("/s"), status, RunEnd("old", AT)).replace("| 8.6 MB |", "| 8.6 MB | more |")
    assert "| old |" not in store_page(Path("/s"), status, RunEnd("new", AT), page)


def test_the_state_of_a_store_is_a_sentence(status: StoreStatus) -> None:
    assert store_sentence(replace(status, damaged=("f.h5",)), RunEnd("r", AT, 60.0, 20.0)) == (
        "30 of 33 videos have features, 15 of 16 shards done, without features: 2 unreadable, 1 not extracted yet, "
        "1 damaged file, 8.6 MB, 3.00 s of video per second"
    )
