"""Damaged records beside the shards can be set aside by a command: nobody has to delete a file of a store."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reeldex.storage.errors import ClaimLostError, StoreDamagedError
from reeldex.storage.forgotten import add_forgotten
from reeldex.storage.removed import add_removed
from reeldex.storage.searches import Searches
from reeldex.storage.store import FeatureStore
from tests.conftest import Reeldex
from tests.storage.test_claims import overtake

Act = Callable[..., None]


@pytest.fixture
def filled(store: FeatureStore, grow: Act, fill: Act) -> FeatureStore:
    grow("a", "b", "c")
    fill(0)
    with store.lock():
        store.forget(["b"])
        add_removed(store.path, "net9d.v1", [0])
        store.record_searches(Searches(equal_names_get_paths=True).with_search("/list", {"a"}))
    return store


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("forgotten.json", "forgotten videos count again"),
        ("removed.json", "removed feature spaces are made again"),
        ("searches.json", "which videos left their source is unknown"),
    ],
)
def test_a_damaged_record_is_set_aside(filled: FeatureStore, reeldex: Reeldex, name: str, lost: str) -> None:
    path = filled.path / name
    content = path.read_bytes()
    path.write_bytes(content[:-40])
    refused = reeldex("status", filled.path)
    assert refused.status == 2
    assert "reeldex verify STORE --set-aside-records" in refused.err
    found = reeldex("verify", filled.path)
    assert (found.status, name in found.out) == (1, True)
    answer = reeldex("verify", filled.path, "--set-aside-records")
    assert answer.status == 0
    assert lost in answer.err
    assert (filled.path / f"{name}.damaged").read_bytes() == content[:-40]
    assert reeldex("status", filled.path).status == 0
    store = FeatureStore(filled.path)
    assert ("b" in store) == (name == "forgotten.json")
    searches = store.searches()
    assert searches is not None
    assert searches.equal_names_get_paths, "ids of new files still follow the rule of this store"


def test_who_was_overtaken_sets_no_record_aside(filled: FeatureStore) -> None:
    path = filled.path / "forgotten.json"

    def late() -> None:
        with filled.lock():
            path.write_bytes(b"{")
            overtake(filled)
            filled.set_aside_records()

    with pytest.raises(ClaimLostError):
        late()
    assert path.read_bytes() == b"{"
    assert not list(filled.path.glob("*.damaged"))


def test_intact_records_stay(filled: FeatureStore) -> None:
    with filled.lock():
        assert filled.set_aside_records() == []
    assert filled.ids() == ["a", "c"]
    assert not list(filled.path.glob("*.damaged"))


def test_a_record_of_damage_is_written_again_by_the_verification_itself(filled: FeatureStore) -> None:
    folder = filled.path / "damage"
    folder.mkdir()
    (folder / "shard-00000.json").write_text("{")
    report = filled.verify()
    assert [each.file for each in report.damages] == ["damage/shard-00000.json"]
    filled.record_damage(report)
    assert filled.verify().sound


def test_a_damaged_record_is_not_overwritten(filled: FeatureStore) -> None:
    path = filled.path / "forgotten.json"
    path.write_text("{")
    with pytest.raises(StoreDamagedError):
        add_forgotten(filled.path, [])
    assert path.read_text() == "{"
