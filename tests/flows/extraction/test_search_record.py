"""The record of searches, as runs write it beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from reeldex.flows.extraction.search_record import record_search
from reeldex.flows.extraction.sources import FoundVideos
from reeldex.storage.schema import VideoEntry
from reeldex.storage.store import FeatureStore


def found(*video_ids: str) -> FoundVideos:
    return FoundVideos([VideoEntry(each, f"/videos/{each}.mp4", 10, 20) for each in video_ids], [])


@pytest.mark.parametrize("videos", [2, 2000], ids=["small", "large"])
def test_a_run_with_nothing_to_do_keeps_what_another_one_recorded_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, videos: int
) -> None:
    store = FeatureStore(tmp_path / "store", create=True)
    names = [f"v{number}" for number in range(videos)]
    record_search(store, "/here", found(*names))
    lock = FeatureStore.lock

    @contextmanager
    def late(self: FeatureStore, wait_seconds: float = 0.0) -> Iterator[None]:
        # The other run is here between this run's look at the record and its lock.
        monkeypatch.setattr(FeatureStore, "lock", lock)
        record_search(store, "/there", found("a", "b"))
        record_search(store, "/there", found("a"))
        held: AbstractContextManager[None] = lock(self, wait_seconds)
        with held:
            yield

    monkeypatch.setattr(FeatureStore, "lock", late)
    record_search(store, "/here", found(*names[1:]), needs_lock=True)
    searches = store.searches()
    assert searches is not None
    assert searches.left == {"b", names[0]}
