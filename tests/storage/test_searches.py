"""The record of searched sources: small ones are in it, the ids of large ones in files of their own."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import pytest

from reeldex.storage import searches as module
from reeldex.storage.errors import ClaimLostError, StoreDamagedError
from reeldex.storage.searches import SearchedSource, Searches, inline_ids
from reeldex.storage.store import FeatureStore
from tests.storage.test_claims import overtake

MANY = [f"video {number:05d}" for number in range(3000)]
ODD = ["\udcff\n", 'a"b', "é"]


def search(store: FeatureStore, source: str, found: set[str]) -> Searches:
    """Record a search, and return the record as another process reads it."""
    with store.lock():
        before = store.searches() or Searches(equal_names_get_paths=True)
        store.record_searches(before.with_search(source, found, store.searched_ids))
    searches = FeatureStore(store.path).searches()
    assert searches is not None
    return searches


def files(store: FeatureStore) -> list[str]:
    return sorted(path.name for path in (store.path / "searches").glob("*"))


def test_a_large_source_has_a_file_that_only_its_search_reads(store: FeatureStore) -> None:
    ids = {*MANY, *ODD}
    searches = search(store, "/list", ids)
    assert (searches.left, searches.equal_names_get_paths) == (frozenset(), True)
    assert (store.path / "searches.json").stat().st_size < 1000
    (source,) = searches.sources
    assert set(store.searched_ids(source)) == ids
    assert files(store) == [f"{source.present_sha256}.json"]
    with pytest.raises(ValueError, match="are in a file"):
        inline_ids(source)
    searches = search(store, "/list", ids - {MANY[7], ODD[0]})
    assert searches.left == {MANY[7], ODD[0]}
    assert len(files(store)) == 1, "the file that is no longer named is removed"
    assert store.status().left_source == {}, "they are not in the store"
    for name in files(store):
        (store.path / "searches" / name).rename(store.path / "away")
    assert store.searches() == searches, "what has left is known without the file"
    with pytest.raises(StoreDamagedError, match="missing although the record of searches names it"):
        search(store, "/list", ids)
    (damage,) = store.verify().damages
    assert damage.file == "searches.json"


def test_what_comes_back_has_not_left(store: FeatureStore) -> None:
    search(store, "/list", set(MANY))
    search(store, "/list", set(MANY[:2000]))
    searches = search(store, "/list", set(MANY[:1500]))
    assert searches.left == set(MANY[1500:])
    assert search(store, "/list", set(MANY)).left == frozenset()


def test_large_and_small_sources_together(store: FeatureStore) -> None:
    search(store, "/large", set(MANY))
    search(store, "/small", {MANY[0], "x", "y"})
    assert search(store, "/small", {"x"}).left == {"y"}, "the large source still holds the other one"
    assert search(store, "/large", set(MANY[1:])).left == {"y", MANY[0]}
    assert search(store, "/small", {"x", MANY[0]}).left == {"y"}
    searches = search(store, "/large", set(MANY[:10]))
    assert searches.left == {"y", *MANY[10:]}
    assert (files(store), searches.gone) == ([], None), "two small ones need no files"


def test_an_unchanged_search_writes_nothing(store: FeatureStore) -> None:
    search(store, "/list", set(MANY))
    before = {path: path.stat().st_mtime_ns for path in store.path.rglob("searches*")}
    search(store, "/list", set(MANY))
    assert before == {path: path.stat().st_mtime_ns for path in store.path.rglob("searches*")}


def test_the_record_of_a_large_source_of_an_older_release_is_read(store: FeatureStore) -> None:
    store.record_searches(Searches((SearchedSource("/list", tuple(MANY), ("old",)),)))
    assert "present_sha256" not in json.loads((store.path / "searches.json").read_text("utf-8"))["sources"][0]
    searches = store.searches()
    assert searches is not None
    assert searches.left == {"old"}
    searches = search(store, "/list", set(MANY[1:]))
    assert searches.left == {"old", MANY[0]}
    assert len(files(store)) == 1


def test_a_damaged_file_of_ids_is_damage(store: FeatureStore) -> None:
    search(store, "/list", set(MANY))
    (path,) = (store.path / "searches").iterdir()
    path.write_bytes(path.read_bytes().replace(b"00001", b"00002"))
    with pytest.raises(StoreDamagedError, match="checksum"):
        search(store, "/list", set(MANY[1:]))
    assert not store.verify().sound


def test_a_record_that_is_replaced_while_it_is_checked_is_no_damage(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(store, "/list", set(MANY))
    read = module.read_searched_ids

    def late(root: Path, source: SearchedSource) -> Collection[str]:
        monkeypatch.setattr(module, "read_searched_ids", read)
        search(store, "/list", set(MANY[1:]))
        return read(root, source)

    monkeypatch.setattr(module, "read_searched_ids", late)
    module.check_searches(store.path)
    assert len(files(store)) == 1


def test_who_was_overtaken_while_recording_removes_no_file(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(store, "/list", set(MANY))

    def late(folder: Path) -> list[Path]:
        overtake(store)
        return sorted(folder.iterdir())

    monkeypatch.setattr(module, "list_folder", late)
    with pytest.raises(ClaimLostError):
        search(store, "/list", set(MANY[1:]))
    assert len(files(store)) == 2
