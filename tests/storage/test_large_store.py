"""What is derived from the documents of a large store gives the same answers as reading all of them."""

from __future__ import annotations

import shutil
import sqlite3
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from reeldex.storage import catalog, derived, shard_summary
from reeldex.storage.entry_index import EntryIndex, EntryKeys
from reeldex.storage.errors import StoreDamagedError
from reeldex.storage.manifest import ShardManifest
from reeldex.storage.schema import FeatureSpace, VideoEntry, VideoOutcome
from reeldex.storage.searches import Searches
from reeldex.storage.status import StoreStatus
from reeldex.storage.store import FeatureStore

Act = Callable[..., None]
MakeEntry = Callable[..., VideoEntry]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let every store count as large; return the folder of its cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(derived, "WORTH_CACHING", 1)
    return tmp_path / "cache/reeldex/stores"


@pytest.fixture
def filled(store: FeatureStore, grow: Act, fill: Act, two_d: FeatureSpace) -> FeatureStore:
    grow(*"abcdefgh", videos_per_shard=2)
    for shard in range(3):
        fill(shard, (two_d,), failing={"c": "timeout"})
    fill(3, (two_d,), publish=False)
    return store


def status(store: FeatureStore) -> StoreStatus:
    """Return the status of a store that has just been opened: with the cache as it is, and then with it complete."""
    first, second = FeatureStore(store.path).status(), FeatureStore(store.path).status()
    assert first == second
    return first


def uncached_status(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> StoreStatus:
    with monkeypatch.context() as patch:
        patch.setattr(derived, "WORTH_CACHING", 10**9)
        return FeatureStore(store.path).status()


def database(cache: Path) -> Path:
    (path,) = cache.glob("*.sqlite")
    return path


def test_the_cache_changes_no_answer_whatever_happens_to_a_store(  # noqa: PLR0917 - fixtures
    filled: FeatureStore,
    grow: Act,
    fill: Act,
    make_entry: MakeEntry,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def leave(*left: str) -> None:
        before = filled.searches() or Searches()
        filled.record_searches(before.with_search("/videos", set("abcdefgh") - set(left)))

    outcomes = filled.path / "outcomes/shard-00001.json"
    features = filled.path / "features/net2d.v1/shard-00002.h5"
    changes: list[Callable[[], object]] = [
        lambda: None,
        lambda: fill(3),
        lambda: grow(make_entry("a", size=11), make_entry("i"), make_entry("b", "/other/b.mp4"), videos_per_shard=2),
        lambda: fill(4),
        lambda: filled.forget(["d"]),
        leave,
        lambda: leave("a", "e"),
        lambda: leave("e"),
        outcomes.unlink,
        lambda: fill(1),
        lambda: features.write_bytes(features.read_bytes()[:-1] + b"?"),
        lambda: filled.record_damage(filled.verify()),
        features.unlink,
    ]
    seen = []
    for change in changes:
        change()
        seen.append(status(filled))
        assert seen[-1] == uncached_status(filled, monkeypatch)
    assert database(cache).stat().st_size
    assert [each.videos_total for each in seen[:3]] == [8, 8, 10], "a duplicate counts, a superseded video does not"
    assert [each.superseded for each in seen[2:5]] == [1, 1, 2]
    assert [dict(each.left_source) for each in seen[5:8]] == [{}, {"ok": 2}, {"ok": 1}]
    assert [each.shards_done for each in seen[-6:]] == [5, 4, 5, 5, 4, 4]
    assert seen[-2].damaged


def test_a_second_look_reads_no_document_again(
    filled: FeatureStore, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FeatureStore(filled.path).status()
    assert database(cache)
    # Replaced, because what counts is which documents are read.
    for module, name in ((catalog, "read_manifest"), (catalog, "read_outcomes"), (shard_summary, "summarize")):
        monkeypatch.setattr(module, name, pytest.fail)
    opened = FeatureStore(filled.path)
    # Only the pending shard's manifest is needed; its videos are counted.
    manifests = {"shard-00003.json": filled.manifest(3)}
    monkeypatch.setattr(catalog, "read_manifest", lambda path: manifests[path.name])
    assert opened.status().videos_total == 8
    assert opened.spaces() == ["net2d.v1"]
    assert opened.video_count() == 8


@pytest.mark.parametrize("part", ["manifest", "outcomes"])
def test_a_document_that_is_edited_in_place_is_noticed(filled: FeatureStore, cache: Path, part: str) -> None:
    FeatureStore(filled.path).status()
    path = filled.path / part / "shard-00001.json"
    path.write_text(path.read_text().replace("/videos/c.mp4", "/videos/x.mp4"))
    with pytest.raises(StoreDamagedError, match="checksum"):
        FeatureStore(filled.path).status()
    assert database(cache)


def _garbage(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)


def _torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4096])


def _flipped(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE rows SET content = CAST(substr(content, 2) AS BLOB)")
    connection.close()


def _text(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE rows SET content = 'text', version = CAST(x'ff' AS TEXT)")
    connection.close()


def _other_table(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE rows (something TEXT)")
    connection.close()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _not_writable(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_text("a file where the folder should be")


@pytest.mark.parametrize("damage", [_garbage, _torn, _flipped, _text, _other_table, _folder, _not_writable])
def test_a_damaged_cache_is_not_used(
    filled: FeatureStore, cache: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    expected = FeatureStore(filled.path).status()
    damage(database(cache))
    assert status(filled) == expected == uncached_status(filled, monkeypatch)
    assert FeatureStore(filled.path).read("net2d.v1", "a").shape == (6, 8)


def test_a_store_in_the_place_of_another_has_its_own_answers(
    filled: FeatureStore, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FeatureStore(filled.path).status()
    shutil.rmtree(filled.path)
    FeatureStore(filled.path, create=True)
    assert status(filled) == uncached_status(filled, monkeypatch)
    assert status(filled).videos_total == 0
    assert database(cache)


def test_small_stores_have_no_cache(filled: FeatureStore, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derived, "WORTH_CACHING", 5)
    FeatureStore(filled.path).status()
    assert not cache.exists()


def test_the_index_finds_what_going_through_all_entries_finds(make_entry: MakeEntry) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    shards = [
        (make_entry("a"), make_entry("n/b"), make_entry(composed)),
        (make_entry("c", "/videos/a.mp4"), make_entry(decomposed), make_entry("d", "/videos/\udce9")),
        (make_entry("a", "/moved/a.mp4"), VideoEntry("c", "/other", 1, 2, duplicate_of="/videos/a.mp4")),
    ]
    index = EntryIndex([EntryKeys.of(ShardManifest(at, each, ())) for at, each in enumerate(shards)])
    everything = [(shard, at, each) for shard, videos in enumerate(shards) for at, each in enumerate(videos)]
    for video_id in ("a", "n/b", "c", "d", "b", ""):
        expected = [(shard, at) for shard, at, each in everything if each.video_id == video_id]
        assert index.places_of(video_id) == expected
        assert index.shards_with([video_id]) == sorted({shard for shard, _ in expected})
    for form in (composed, decomposed):
        assert index.places_of(form) == [(0, 2), (1, 1)]
    assert index.shards_with(paths=["/videos/a.mp4"]) == [0, 1]
    assert index.shards_with(["n/b"], ["/moved/a.mp4", "/videos/\udce9"]) == [0, 1, 2]
    assert index.shards_with() == []
    assert index.shards_with_repeated_ids(()) == [0, 1, 2]
    assert index.shards_with_repeated_ids({(0, 0), (2, 1), (1, 1)}) == []
    assert index.video_count(()) == 5
    assert index.video_count({(0, 0)}) == 5
    assert index.video_count({(0, 0), (2, 0)}) == 4
    assert EntryIndex(()).places_of("a") == []


def test_complete_shards_are_not_opened_again_until_one_of_their_files_is_another(  # noqa: PLR0917 - fixtures
    filled: FeatureStore, grow: Act, fill: Act, make_entry: MakeEntry, two_d: FeatureSpace, cache: Path
) -> None:
    def known(*spaces: FeatureSpace) -> list[int]:
        """Return the shards known to be complete to a store that has just been opened, which then looks at all."""
        opened = FeatureStore(filled.path)
        complete = opened.complete_shards()
        found = [shard for shard in range(opened.shard_count()) if complete.has(shard, spaces or (two_d,))]
        for shard in range(opened.shard_count()):
            complete.add(opened.inspect(shard, spaces or (two_d,)))
        complete.keep()
        return found

    features = filled.path / "features/net2d.v1/shard-00000.h5"
    intact = features.read_bytes()
    assert known() == []
    assert known() == [0, 1, 2], "one that is staged is not complete"
    fill(3)
    assert known() == [0, 1, 2]
    assert known() == [0, 1, 2, 3]
    assert known(FeatureSpace("net2d.v1", {"weights": "other", "fps": 1})) == []
    known()
    grow(make_entry("e", size=11), videos_per_shard=2)
    assert known() == [0, 1, 3], "what one of its videos counts for has changed"
    features.write_bytes(intact[:-1])
    assert known() == [1, 2, 3]
    features.write_bytes(intact)
    known()
    features.write_bytes(intact[:-1] + b"?")
    filled.record_damage(filled.verify())
    assert known() == [1, 2, 3]
    assert known() == [1, 2, 3]
    (filled.path / "outcomes/shard-00001.json").unlink()
    assert known() == [2, 3]
    (filled.path / "features/net2d.v1/shard-00002.h5").unlink()
    assert known() == [3]
    filled.staging(3).put(0, VideoOutcome("g", "/videos/g.mp4", "failed", "timeout", "slow", 1), {})
    assert known() == []
    assert database(cache)


@dataclass(frozen=True)
class Part:
    name: str


@dataclass(frozen=True)
class LongerPart:
    name: str
    size: int


@dataclass(frozen=True)
class Whole:
    parts: Mapping[str, Part]
    more: tuple[LongerPart, ...] | None = None


def test_rows_of_another_form_are_not_read(cache: Path, tmp_path: Path) -> None:
    assert cache
    form = derived.form_of(Whole)
    assert "Part(name: str)" in form.splitlines()
    assert "LongerPart(name: str, size: int)" in form.splitlines(), "a field of a part counts"
    kinds = [derived.RowKind("a", each) for each in (form, derived.form_of(Part))]
    rows = derived.DerivedRows(tmp_path, 1)
    rows.write(kinds[0], {0: ("version", b"content")})
    assert [rows.read(kind) for kind in kinds] == [{0: ("version", b"content")}, {}]
    assert "SummarizedFile(name: Text, size_bytes: Integer)" in shard_summary._KIND.form.splitlines()
    assert "'duplicate', '|b1'" in catalog._ENTRIES.form
