"""What a store keeps in memory is bounded, and its answers do not depend on the bound."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from reeldex.storage import similar_names
from reeldex.storage.bounded_cache import BoundedCache
from reeldex.storage.errors import UnknownVideoError
from reeldex.storage.manifest import latest_entries
from reeldex.storage.schema import FeatureSpace, VideoEntry
from reeldex.storage.store import FeatureStore

Act = Callable[..., None]
MakeEntry = Callable[..., VideoEntry]


def test_what_was_used_least_recently_is_forgotten() -> None:
    cache = BoundedCache[str, str](10)
    for key, weight in (("a", 4), ("b", 4), ("c", 2)):
        cache.put(key, key.upper(), weight)
    assert cache.get("a") == "A"
    cache.put("d", "D", 1)
    assert [cache.get(key) for key in "abcd"] == ["A", None, "C", "D"]
    cache.put("a", "again", 7)
    assert [cache.get(key) for key in "acd"] == ["again", "C", "D"], "its weight is the new one"
    cache.put("heavy", "H", 100)
    assert (len(cache), cache.get("heavy")) == (1, "H"), "one is always kept"
    cache.put("e", "E", 10)
    assert [cache.get(key) for key in ("heavy", "e")] == [None, "E"]
    cache.clear()
    cache.put("a", "A", 10)
    assert (len(cache), cache.get("a"), cache.get("e")) == (1, "A", None)


def test_a_walk_over_many_shards_keeps_few_of_them_and_answers_as_ever(
    store: FeatureStore, grow: Act, fill: Act, make_entry: MakeEntry, two_d: FeatureSpace
) -> None:
    grow(*"abcdefgh", videos_per_shard=2)
    grow(make_entry("c", size=11), make_entry("i"), make_entry("b", "/other/b.mp4"), videos_per_shard=2)
    grow(make_entry("c", size=12), videos_per_shard=2)
    for shard in range(7):
        fill(shard, (two_d,), failing={"e": "timeout"})
    grow(make_entry("a", size=11), videos_per_shard=2)
    store.forget(["d"])
    few = FeatureStore(store.path, videos_kept=3)
    latest = latest_entries(store.manifests(), store.forgotten().positions)
    expected = [video_id for video_id in latest if (found := store.outcome(video_id)) and found.rows]
    assert expected == ["b", "c", "f", "g", "h", "i"], "in the order in which they first came"
    for opened in (store, few, pickle.loads(pickle.dumps(few))):  # noqa: S301 - as a worker process gets it
        for _ in range(2):
            assert opened.ids() == opened.ids(two_d.name) == list(opened.ids_with([two_d.name])) == expected
            assert {each: opened.place(each) for each in latest} == {each: latest[each][:2] for each in latest}
            assert all(opened.read(two_d.name, each).tobytes() for each in expected)
    for kept in (few._catalog._manifests, few._catalog._outcomes, few._catalog._found):
        assert 1 <= len(kept) <= 3
    assert (len(few._catalog._manifests), len(few._catalog._outcomes)) == (1, 1), "two shards have four videos"
    assert len(store._catalog._found) > 3


def test_an_unknown_id_of_a_large_store_reads_no_manifest(
    store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(*"abcd", videos_per_shard=2)
    fill(0, (two_d,))
    with pytest.raises(UnknownVideoError, match="Did you mean 'a'"):
        store.read(two_d.name, "a ")
    monkeypatch.setattr(similar_names, "_MOST_COMPARED", 3)
    large = FeatureStore(store.path)
    with pytest.raises(UnknownVideoError, match=r"has no video 'a '\. `reeldex status`"):
        large.read(two_d.name, "a ")
    assert large._catalog._all == ()
