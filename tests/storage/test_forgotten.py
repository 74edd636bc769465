"""Forgotten videos, and videos that left their source: manifests and published files stay as they are."""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from reeldex.storage import layout
from reeldex.storage.errors import StoreDamagedError, UnknownVideoError
from reeldex.storage.growth import plan_growth
from reeldex.storage.schema import FeatureSpace, VideoEntry
from reeldex.storage.searches import SearchedSource, Searches
from reeldex.storage.store import FeatureStore


def files(root: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("manifest", "features", "outcomes")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def filled(store: FeatureStore, grow: Any, fill: Any, two_d: FeatureSpace) -> FeatureStore:  # noqa: ANN401 - see conftest
    """Shards (a, b) and (c); b failed."""
    grow("a", "b")
    fill(0, failing={"b": "missing"})
    grow("c")
    fill(1)
    return store


def test_a_forgotten_video_counts_nowhere_and_no_file_changes(filled: FeatureStore) -> None:
    before = files(filled.path)
    with filled.lock():
        assert filled.forget(["b", "c"]) == {"b": 1, "c": 1}
    for store in (filled, FeatureStore(filled.path)):
        assert store.ids() == ["a"]
        assert [each.video_id for each in store.videos()] == ["a"]
        assert (store.outcome("b"), "c" in store) == (None, False)
        status = store.status()
        assert (status.videos_total, status.ok, status.failed) == (1, 1, 0)
        with pytest.raises(UnknownVideoError, match="no video 'c'"):
            store.read(store.spaces()[0], "c")
    assert files(filled.path) == before
    assert filled.verify().sound


def test_a_name_that_is_unknown_forgets_nothing(filled: FeatureStore) -> None:
    with pytest.raises(UnknownVideoError, match="'bb'"):
        filled.forget(["a", "bb"])
    assert filled.ids() == ["a", "c"]
    with filled.lock():
        filled.forget(["a"])
    with pytest.raises(UnknownVideoError):
        filled.forget(["a"])


def test_a_video_may_be_named_by_its_path(filled: FeatureStore) -> None:
    (path,) = [each.path for each in filled.videos() if each.video_id == "c"]
    with filled.lock():
        assert filled.forget([path]) == {path: 1}
    assert "c" not in filled


def test_a_forgotten_video_that_is_found_again_is_new(filled: FeatureStore) -> None:
    entries = [entry for manifest in filled.manifests() for entry in manifest.videos]
    with filled.lock():
        filled.forget(["a"])
    growth = plan_growth(
        filled.manifests(),
        entries,
        videos_per_shard=4,
        spaces=("net.v1",),
        exists=lambda _: True,
        forgotten=filled.forgotten().positions,
    )
    assert (growth.new, growth.unchanged) == (1, 2)
    assert [video.video_id for shard in growth.new_shards for video in shard.videos] == ["a"]


def test_a_forgotten_failure_is_not_retried(filled: FeatureStore, two_d: FeatureSpace) -> None:
    assert filled.pending_positions(0, [two_d], retry=["missing"]) == (1,)
    with filled.lock():
        filled.forget(["b"])
    assert filled.pending_positions(0, [two_d], retry=["missing"]) == ()


def test_a_damaged_record_is_damage(filled: FeatureStore) -> None:
    with filled.lock():
        filled.forget(["b"])
    path = layout.forgotten_file(filled.path)
    path.write_text(path.read_text("utf-8").replace('"b"', '"a"'), encoding="utf-8")
    with pytest.raises(StoreDamagedError, match="checksum"):
        FeatureStore(filled.path).ids()


def test_status_separates_what_left_its_source(filled: FeatureStore) -> None:
    searches = Searches().with_search("/list", {"a", "b", "c"})
    filled.record_searches(searches)
    assert filled.status().left_source == {}
    filled.record_searches(searches.with_search("/list", {"a"}))
    status = FeatureStore(filled.path).status()
    assert (status.videos_total, status.ok, status.failed, status.left_source) == (1, 1, 0, {"ok": 1, "failed": 1})


def test_what_one_source_lost_and_another_holds_has_not_left() -> None:
    searches = Searches().with_search("/one", {"a", "b"}).with_search("/two", {"b"}).with_search("/one", set())
    assert searches.left == {"a"}
    assert searches.with_search("/one", {"a"}).left == frozenset()
    assert searches.sources[-1] == SearchedSource("/one", (), ("a", "b"))


def test_accents_in_either_form_name_the_same_video(
    store: FeatureStore,
    grow: Any,  # noqa: ANN401
    fill: Any,  # noqa: ANN401
    two_d: FeatureSpace,
) -> None:
    decomposed, composed = (unicodedata.normalize(form, "café") for form in ("NFD", "NFC"))
    grow(decomposed)
    fill(0)
    assert store.ids() == [decomposed], "a store's own spelling stays"
    assert composed in store
    assert store.read(two_d.name, composed).tobytes() == store.read(two_d.name, decomposed).tobytes()
    assert len(store.read_span(two_d.name, composed, 0.0, 1.0)) == 2
    assert store.outcome(composed) == store.outcome(decomposed)
    assert len(store.map_rows(two_d.name, composed)[1]) == len(store.read(two_d.name, decomposed))
    with store.lock():
        store.forget([composed])
    assert store.ids() == []


def test_a_video_that_is_forgotten_before_it_was_extracted_never_is(
    store: FeatureStore,
    grow: Any,  # noqa: ANN401
    fill: Any,  # noqa: ANN401
    two_d: FeatureSpace,
) -> None:
    grow("a", "b", "c")
    with store.lock():
        store.forget(["b"])
    assert store.pending_positions(0, [two_d]) == (0, 2)
    fill(0)
    assert store.ids() == ["a", "c"]
    status = store.status()
    assert (status.videos_total, status.ok, status.superseded, status.shards_done) == (2, 2, 1, 1)
    outcomes = store.outcomes(0)
    assert outcomes
    assert "forgotten with `reeldex forget`" in outcomes.videos[1].message
    assert store.verify().sound


def test_the_lost_rows_of_a_forgotten_video_are_not_made_again(
    filled: FeatureStore,
    fill: Any,  # noqa: ANN401
    two_d: FeatureSpace,
    three_d: FeatureSpace,
) -> None:
    with filled.lock():
        filled.forget(["c"])
    layout.features_file(filled.path, two_d.name, 1).unlink()
    assert filled.pending_positions(1, [two_d]) == ()
    assert filled.pending_positions(1, [two_d, three_d]) == (), "nor are its rows in another space"
    fill(1)
    assert filled.verify().sound
    assert filled.status().shards_done == 2


def test_a_superseded_video_is_not_extracted_from_the_file_that_replaced_it(
    store: FeatureStore,
    grow: Any,  # noqa: ANN401
    fill: Any,  # noqa: ANN401
    two_d: FeatureSpace,
    three_d: FeatureSpace,
) -> None:
    grow("a", "b")
    grow(VideoEntry("a", "/videos/a.mp4", 11, 20), "b")
    assert store.pending_positions(0, [two_d]) == (1,)
    fill(0)
    fill(1)
    assert (store.ids(), store.pending_positions(0, [two_d, three_d])) == (["a", "b"], (1,))
    assert store.verify().sound
