from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reeldex.storage import layout
from reeldex.storage.documents import write_document
from reeldex.storage.errors import StoreDamagedError, StoreError
from reeldex.storage.growth import Growth, StoreSize, plan_growth
from reeldex.storage.json_codec import to_json
from reeldex.storage.manifest import (
    ShardManifest,
    latest_entries,
    list_shards,
    read_manifest,
    superseded_positions,
    write_manifest,
)
from reeldex.storage.schema import Span, VideoEntry


def entry(
    video_id: str, path: str = "", size: int | None = 1, mtime: int = 2, *, duplicate_of: str | None = None
) -> VideoEntry:
    return VideoEntry(video_id, path or f"/{video_id}", size, None if size is None else mtime, duplicate_of)


def manifest(shard: int, *videos: VideoEntry) -> ShardManifest:
    return ShardManifest(shard, videos, ("net.v1",))


def plan(
    manifests: Sequence[ShardManifest],
    found: Sequence[VideoEntry],
    existing: Sequence[str] = (),
    videos_per_shard: int = 3,
) -> Growth:
    return plan_growth(
        manifests,
        found,
        videos_per_shard=videos_per_shard,
        spaces=("net.v1",),
        exists=lambda path: path in existing,
    )


HELD = (manifest(0, entry("a")),)
WITH_DUPLICATE = (manifest(0, entry("a"), entry("a", "/other", duplicate_of="/a")),)


@pytest.mark.parametrize(
    ("manifests", "found", "existing", "counts", "planned", "gone"),
    [
        ((), [], [], (0, 0, 0, 0), [], ()),
        ((), [entry("a")], [], (1, 0, 0, 0), [entry("a")], ()),
        ((), [entry("a", size=None)], [], (1, 0, 0, 0), [entry("a", size=None)], ()),
        (HELD, [entry("a")], ["/a"], (0, 0, 1, 0), [], ()),
        (HELD, [entry("a", size=9)], ["/a"], (0, 1, 0, 0), [entry("a", size=9)], ()),
        (HELD, [entry("a", mtime=9)], ["/a"], (0, 1, 0, 0), [entry("a", mtime=9)], ()),
        (HELD, [], ["/a"], (0, 0, 0, 0), [], ("a",)),
        # The file vanished, and a list still names it: nothing is superseded.
        (HELD, [entry("a", size=None)], [], (0, 0, 1, 0), [], ("a",)),
        ((manifest(0, entry("a", size=None)),), [entry("a")], ["/a"], (0, 1, 0, 0), [entry("a")], ()),
        # Another path: moved, replaced, or a duplicate.
        (HELD, [entry("a", "/new")], [], (0, 0, 1, 0), [], ()),
        (HELD, [entry("a", "/new", size=9)], [], (0, 1, 0, 0), [entry("a", "/new", size=9)], ()),
        (HELD, [entry("a", "/new")], ["/a"], (0, 0, 0, 1), [entry("a", "/new", duplicate_of="/a")], ()),
        (HELD, [entry("a", "/new"), entry("a")], [], (0, 0, 1, 1), [entry("a", "/new", duplicate_of="/a")], ()),
        (
            (manifest(0, entry("a", size=None)),),
            [entry("a", "/new", size=None)],
            [],
            (0, 1, 0, 0),
            [entry("a", "/new", size=None)],
            (),
        ),
        # Duplicates recorded before.
        (WITH_DUPLICATE, [entry("a"), entry("a", "/other")], ["/a"], (0, 0, 2, 0), [], ()),
        (
            WITH_DUPLICATE,
            [entry("a"), entry("a", "/other", size=9)],
            ["/a"],
            (0, 0, 1, 1),
            [entry("a", "/other", size=9, duplicate_of="/a")],
            (),
        ),
        (WITH_DUPLICATE, [entry("a", "/other", size=9)], [], (0, 1, 0, 0), [entry("a", "/other", size=9)], ()),
        # Duplicates within one scan: the first wins.
        ((), [entry("a"), entry("a", "/b")], [], (1, 0, 0, 1), [entry("a"), entry("a", "/b", duplicate_of="/a")], ()),
        ((), [entry("a"), entry("a")], [], (1, 0, 1, 0), [entry("a")], ()),
    ],
)
def test_verdicts(
    *,
    manifests: Sequence[ShardManifest],
    found: list[VideoEntry],
    existing: list[str],
    counts: tuple[int, int, int, int],
    planned: list[VideoEntry],
    gone: tuple[str, ...],
) -> None:
    growth = plan(manifests, found, existing)
    assert (growth.new, growth.changed, growth.unchanged, growth.duplicates) == counts
    assert sum(counts) == len(found)
    assert [video for shard in growth.new_shards for video in shard.videos] == planned
    assert growth.gone == len(gone)
    assert [shard.shard for shard in growth.new_shards] == list(
        range(len(manifests), len(manifests) + len(growth.new_shards))
    )


def test_the_manifests_of_the_videos_found_are_enough_with_the_size_of_the_store() -> None:
    others = manifest(1, entry("b"), entry("c"))
    found = [entry("a", size=9), entry("d")]

    def growth(manifests: Sequence[ShardManifest], size: StoreSize | None, settling: Sequence[str] = ()) -> Growth:
        return plan_growth(
            manifests, found, videos_per_shard=3, spaces=(), exists=lambda _: True, size=size, settling=settling
        )

    whole = growth((*HELD, others), None)
    assert (whole.new, whole.changed, whole.gone, whole.new_shards[0].shard) == (1, 1, 2, 2)
    assert growth(HELD, StoreSize(2, 3)) == whole
    assert growth((*HELD, others), None, ["b", "new"]).gone == growth((*HELD, others), StoreSize(2, 3), ["b"]).gone == 1


def test_a_rescan_of_the_same_files_adds_nothing() -> None:
    found = [entry(name, path) for name, path in [("a", "/1"), ("b", "/2"), ("a", "/3"), ("a/b", "/4"), ("c", "/5")]]
    grown = plan((), found, videos_per_shard=2).new_shards
    again = plan(grown, found, existing=[video.path for video in found])
    assert (again.new_shards, again.unchanged) == ((), 5)


def test_a_moved_video_without_features_is_planned_under_its_new_path() -> None:
    def growth(*, has_features: bool) -> Growth:
        return plan_growth(
            HELD,
            [entry("a", "/new")],
            videos_per_shard=3,
            spaces=(),
            exists=lambda _: False,
            has_features=lambda _: has_features,
        )

    assert growth(has_features=True).unchanged == 1
    assert [shard.videos for shard in growth(has_features=False).new_shards] == [(entry("a", "/new"),)]


def test_shards_fill_in_order_and_never_move() -> None:
    first = plan((), [entry(str(at)) for at in range(5)], videos_per_shard=2).new_shards
    assert [[video.video_id for video in shard.videos] for shard in first] == [["0", "1"], ["2", "3"], ["4"]]
    more = plan(first, [entry(str(at)) for at in range(6)], videos_per_shard=2).new_shards
    assert [(shard.shard, [video.video_id for video in shard.videos]) for shard in more] == [(3, ["5"])]


@pytest.mark.parametrize("order", [["a", "a/b", "a/b/c", "x"], ["a/b/c", "a/b", "a", "x"], ["a/b", "a", "x", "a/b/c"]])
def test_an_id_and_its_folder_end_in_different_shards(order: list[str]) -> None:
    shards = plan((), [entry(video_id) for video_id in order], videos_per_shard=9).new_shards
    assert sorted(video.video_id for shard in shards for video in shard.videos) == sorted(order)
    assert [len(shard.videos) for shard in shards] == [2, 1, 1]
    with pytest.raises(ValueError, match="cannot hold the video id"):
        ShardManifest(0, tuple(entry(video_id) for video_id in order), ())


def test_two_versions_of_an_id_in_one_scan_keep_their_order() -> None:
    found = [entry("a", "/p", size=1), entry("b"), entry("a", "/p", size=2)]
    shards = plan((), found, videos_per_shard=9).new_shards
    assert latest_entries(shards)["a"] == (1, 0, found[2])


def test_latest_and_superseded_entries() -> None:
    old, new = entry("a"), entry("a", "/new", size=9)
    duplicate = entry("a", "/other", duplicate_of="/a")
    again = replace(duplicate, size_bytes=7)
    promoted = entry("b", "/other-b", size=3)
    manifests = [
        manifest(0, old, duplicate, entry("b"), entry("b", "/other-b", duplicate_of="/b")),
        manifest(1, new, promoted, again),
    ]
    assert latest_entries(manifests) == {"a": (1, 0, new), "b": (1, 1, promoted)}
    assert superseded_positions(manifests) == {(0, 0), (0, 1), (0, 2), (0, 3)}


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one video"):
        plan((), [], videos_per_shard=0)
    with pytest.raises(ValueError, match="does not mark duplicates itself"):
        plan((), [entry("a", duplicate_of="/b")])
    with pytest.raises(ValueError, match="no video"):
        manifest(0)
    with pytest.raises(ValueError, match="twice"):
        ShardManifest(0, (entry("a"),), ("net.v1", "net.v1"))


def test_planning_touches_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan((), [entry("a")])
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_comes_back_from_disk(tmp_path: Path) -> None:
    written = manifest(0, entry("é/b", "/\udcff\n", size=None), entry("a"), entry("a", "/x", duplicate_of="/a"))
    write_manifest(tmp_path, written)
    path = tmp_path / "manifest/shard-00000.json"
    assert path.read_bytes().isascii()
    assert read_manifest(path) == written


def test_a_manifest_is_never_overwritten(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest(0, entry("a")))
    before = (tmp_path / "manifest/shard-00000.json").read_bytes()
    with pytest.raises(StoreError, match="manifests are immutable"):
        write_manifest(tmp_path, manifest(0, entry("b")))
    assert (tmp_path / "manifest/shard-00000.json").read_bytes() == before


def test_shards_are_listed_as_numbers_and_a_gap_is_damage(tmp_path: Path) -> None:
    for shard in range(3):
        write_manifest(tmp_path, manifest(shard, entry("a")))
    (tmp_path / "manifest/.publishing-0123").write_text("")
    assert list_shards(tmp_path) == (0, 1, 2)
    (tmp_path / "manifest/shard-00001.json").unlink()
    with pytest.raises(StoreDamagedError, match=r"shard-00001.json is missing .* backup"):
        list_shards(tmp_path)


def test_a_shard_number_beyond_five_digits() -> None:
    assert layout.shard_stem(123456) == "shard-123456"
    assert layout.parse_shard_stem("shard-123456") == 123456
    assert [layout.parse_shard_stem(stem) for stem in ("shard-012345", "shard-1", "shard-0000x", "x")] == [None] * 4


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"/a"', '"/b"', "checksum"),
        ('"shard": 0', '"shard": 1', "checksum"),
        ('"shard": 0', '"shard": "0"', "checksum"),
        ('"format_version": 1', '"format_version": 2', "version 2, while this program reads version 1"),
        ('"kind": "manifest"', '"kind": "outcomes"', "of kind 'outcomes'"),
        ("reeldex-features", "other", "not a reeldex-features file"),
        ("{", "", "not valid JSON"),
        ('"mtime_ns": ', '"mtime_ns": NaN, "x": ', "a number that JSON does not have"),
        ('"mtime_ns": ', '"mtime_ns": 1e999, "x": ', "a number that JSON does not have"),
    ],
)
def test_an_edited_manifest_is_refused(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    write_manifest(tmp_path, manifest(0, entry("a")))
    path = tmp_path / "manifest/shard-00000.json"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(StoreDamagedError, match=f"shard-00000.json.*{complaint}"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"shard": True}, "'shard': input should be a valid integer"),
        ({"spaces": ["net.v1", 2]}, r"'spaces\[1\]': input should be an instance of str"),
        ({"spaces": "net.v1"}, "'spaces': input should be a valid tuple"),
        ({"videos": {}}, "'videos': input should be a valid tuple"),
        ({"videos": [3]}, r"'videos\[0\]': input should be a dictionary"),
        ({"videos": [{"video_id": "a"}]}, r"'videos\[0\].path' is missing"),
        ({"videos": []}, "no video"),
        ({"shard": 1}, "belongs to shard 1"),
        ({"extra": 1}, "'extra' is unknown"),
    ],
)
def test_a_manifest_of_wrong_types_is_refused(tmp_path: Path, body: dict[str, Any], complaint: str) -> None:
    good: dict[str, Any] = {"shard": 0, "spaces": [], "videos": [to_json(entry("a"))]}
    path = tmp_path / "shard-00000.json"
    write_document(path, "manifest", good)
    read_manifest(path)
    write_document(path, "manifest", good | body)
    with pytest.raises(StoreDamagedError, match=complaint):
        read_manifest(path)


def clip(video_id: str, start: float, end: float | None = None, path: str = "/v") -> VideoEntry:
    return VideoEntry(video_id, path, 1, 2, span=Span(start, end))


@pytest.mark.parametrize(
    ("held", "found", "counts", "planned"),
    [
        ([], [clip("a", 0, 5), clip("b", 5)], (2, 0, 0, 0), ["a", "b"]),
        ([clip("a", 0, 5), clip("b", 5)], [clip("a", 0, 5), clip("b", 5)], (0, 0, 2, 0), []),
        # Another span of the same file is a change, unless the old one is still asked for.
        ([clip("a", 0, 5)], [clip("a", 0, 6)], (0, 1, 0, 0), ["a"]),
        ([clip("a", 0, 5)], [entry("a", "/v")], (0, 1, 0, 0), ["a"]),
        ([clip("a", 0, 5)], [clip("a", 0, 5), clip("a", 0, 6)], (0, 0, 1, 1), ["a"]),
        ([], [clip("a", 0, 5), clip("a", 0, 6)], (1, 0, 0, 1), ["a", "a"]),
        # Moved with its file.
        ([clip("a", 0, 5)], [clip("a", 0, 5, "/w")], (0, 0, 1, 0), []),
    ],
)
def test_clips_are_videos_of_their_own(
    held: list[VideoEntry], found: list[VideoEntry], counts: tuple[int, int, int, int], planned: list[str]
) -> None:
    existing = ["/v"] if not any(each.path == "/w" for each in found) else []
    growth = plan((manifest(0, *held),) if held else (), found, existing)
    assert (growth.new, growth.changed, growth.unchanged, growth.duplicates) == counts
    assert [video.video_id for shard in growth.new_shards for video in shard.videos] == planned


def test_a_manifest_keeps_spans_and_is_as_before_without(tmp_path: Path) -> None:
    (tmp_path / layout.MANIFEST).mkdir()
    for shard, videos in enumerate([(clip("a", 0.5, 5), clip("b", 5)), (entry("c"),)]):
        write_manifest(tmp_path, manifest(shard, *videos))
        assert read_manifest(layout.manifest_file(tmp_path, shard)).videos == videos
    assert '"span"' not in layout.manifest_file(tmp_path, 1).read_text("utf-8")


@pytest.mark.parametrize(("start", "end"), [(-1.0, None), (2.0, 2.0), (float("inf"), None), (0.0, float("nan"))])
def test_an_impossible_span_is_refused(start: float, end: float | None) -> None:
    with pytest.raises(ValueError, match="0 <= start < end"):
        Span(start, end)


def test_an_id_in_another_unicode_form_is_the_stored_one() -> None:
    decomposed, composed = (unicodedata.normalize(form, "é") for form in ("NFD", "NFC"))
    held = (manifest(0, entry(decomposed, "/v")),)
    assert plan(held, [entry(composed, "/v")], ["/v"]).unchanged == 1
    grown = plan(held, [entry(composed, "/v", size=9)], ["/v"])
    assert [video.video_id for shard in grown.new_shards for video in shard.videos] == [decomposed]
    assert grown.gone == 0
