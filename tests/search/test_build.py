from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reeldex.embedding.caption_files import open_captions
from reeldex.embedding.captions import VideoCaptions
from reeldex.embedding.features import StoreFeatures, VideoRows
from reeldex.search import compaction, next_generation
from reeldex.search.build import build_index
from reeldex.search.errors import (
    FactoryError,
)
from reeldex.search.generation import read_generation
from reeldex.search.index import SearchIndex
from reeldex.search.options import IndexOptions
from reeldex.search.recall import settle_nprobe
from reeldex.search.segments import SegmentWriter
from reeldex.storage.manifest import latest_entries
from reeldex.storage.store import FeatureStore
from tests.search.library import (
    IVF,
    OPTIONS,
    Library,
    answers,
    counts,
    eight_videos,
)


def said(*texts: str) -> VideoCaptions:
    starts = tuple(6.0 * at for at in range(len(texts)))
    return VideoCaptions(starts, tuple(start + 5.5 for start in starts), texts)


@pytest.mark.slow
@pytest.mark.parametrize("options", [OPTIONS, IVF], ids=["exact", "ivf"])
def test_adding_changing_and_deleting_gives_the_answers_of_a_fresh_build(
    library: Library, options: IndexOptions
) -> None:
    captions = {"video2": said("chop the onion", "boil water")}
    assert counts(library.build(options=options, captions=captions)) == (8, 0, 0, 0)
    library.add({"new/a.mp4": 31.0, "new/b.mp4": 3.0})
    assert counts(library.build(options=options, captions=captions)) == (2, 0, 0, 8)
    library.add({"part0/video6.mp4": 22.0}, version=1)
    captions = {"video2": said("chop the onion", "stir soup"), "b": said("slice bread")}
    assert counts(library.build(options=options, captions=captions)) == (0, 3, 0, 7)
    (library.folder / "videos/part1/video1.mp4").unlink()
    library.add({"part1/video3.mp4": 9.0}, version=2, failing=["part1/video3.mp4"])
    report = library.build(options=options, captions=captions)
    assert counts(report) == (0, 0, 2, 8)
    assert report.videos_without_file == 1
    fresh = library.build("fresh", options=options, captions=captions)
    assert (fresh.moments, counts(fresh)) == (report.moments, (8, 0, 0, 0))
    for asked in ({}, {"merge": False}, {"videos": "*video[46]*"}, {"k": 200}):
        grown, rebuilt = answers(library.folder / "index", **asked), answers(library.folder / "fresh", **asked)
        assert grown == rebuilt
        assert all(rebuilt)
    with SearchIndex.open(library.folder / "index") as index:
        assert sorted(index.videos()) == sorted(
            ["new/a.mp4", "new/b.mp4", *(f"part{at % 2}/video{at}.mp4" for at in (0, 2, 4, 5, 6, 7))]
        )
        found = index.search("slice bread", k=100, merge=False)
        assert {each.caption for each in found if "video2" in each.video_id} == {"chop the onion", "stir soup"}
        assert index.about().recall_queries == "captions"
        latest = latest_entries(FeatureStore(library.folder / "store").manifests())
        assert index.about().shards == tuple(sorted({latest[video_id][0] for video_id in index.videos()}))


@pytest.mark.slow
def test_captions_that_cannot_be_used_are_counted_and_said_once(
    library: Library, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = {"start": [0.0], "end": [6.0], "text": ["chop the onion"]}
    (tmp_path / "captions.json").write_text(json.dumps({"video1": good, "video2": {**good, "end": []}, "other": good}))
    report = library.build(captions=open_captions(tmp_path / "captions.json", tmp_path / "cache"))
    assert (report.videos_captioned, list(report.unusable_captions)) == (1, ["part0/video2.mp4"])
    assert "1 starts, 0 ends and 1 texts" in report.unusable_captions["part0/video2.mp4"]
    assert caplog.text.count("video2' cannot be used") == 1
    assert "captions: 1 video with captions; those of 1 video cannot be used" in str(report)
    assert json.loads(json.dumps(report.to_json()))["unusable_captions"] == dict(report.unusable_captions)
    assert "captions: 0 videos with captions" in str(library.build("other", captions={}))
    assert library.build("none").videos_captioned is None


def test_a_build_opens_each_stream_of_a_video_once(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[int, str]] = []
    video = StoreFeatures.video

    def counted(self: StoreFeatures, stream: int, video_id: str) -> VideoRows:
        opened.append((stream, video_id))
        return video(self, stream, video_id)

    monkeypatch.setattr(StoreFeatures, "video", counted)
    assert library.build().moments > 8
    assert set(opened) == {(stream, video_id) for video_id in eight_videos() for stream in (0, 1)}
    # The first video is opened once more, for the dimensions of its vectors.
    assert len(opened) == 2 * 8 + 2


def test_nothing_to_do_changes_no_file(library: Library) -> None:
    first = library.build()
    before = {path: path.stat().st_mtime_ns for path in (library.folder / "index").iterdir()}
    again = library.build()
    assert (first.up_to_date, again.up_to_date) == (False, True)
    assert counts(again) == (0, 0, 0, 8)
    assert (again.recall_at_10, again.moments) == (first.recall_at_10, first.moments)
    assert {path: path.stat().st_mtime_ns for path in (library.folder / "index").iterdir()} == before
    assert json.loads(json.dumps(again.to_json()))["up_to_date"] is True
    assert "Index up to date" in str(again)
    assert library.build(options=OPTIONS.replaced(batch_size=3)).up_to_date
    assert not library.build(options=OPTIONS.replaced(rerank_candidates=3)).up_to_date


class KilledError(BaseException):
    """Ends a build where a kill might."""


def kill_at(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def die(*_: object, **__: object) -> None:
        raise KilledError

    if place == "amid embedding":
        monkeypatch.setattr(SegmentWriter, "add_embeddings", die)
    elif place == "before the structure":
        monkeypatch.setattr("reeldex.search.ann_index.AnnIndex.save", die)
    elif place == "before the videos":
        monkeypatch.setattr(next_generation, "write_videos", die)
    elif place == "before index.json":
        monkeypatch.setattr(next_generation, "publish_generation", die)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["amid embedding", "before the structure", "before the videos", "before index.json"])
def test_a_killed_build_leaves_the_index_unchanged_and_no_leftovers(
    library: Library, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    library.build(options=IVF)
    before = answers(library.folder / "index")
    library.add({"new/a.mp4": 31.0})
    with monkeypatch.context() as patched:
        kill_at(patched, place)
        # A kill runs no cleaning up.
        patched.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(KilledError):
            library.build(options=IVF)
    assert answers(library.folder / "index") == before
    assert counts(library.build(options=IVF)) == (1, 0, 0, 8)
    folder = library.folder / "index"
    in_use = {*read_generation(folder).files, "index.json", ".lock"}
    assert {path.name for path in folder.iterdir()} == in_use
    library.build("fresh", options=IVF)
    assert answers(folder) == answers(library.folder / "fresh")


@pytest.mark.slow
def test_an_open_index_answers_while_another_is_built_and_is_refreshed_after_it(library: Library) -> None:
    library.build()
    with SearchIndex.open(library.folder / "index") as index:
        before = index.search("soup")
        library.add({"new/a.mp4": 31.0})
        library.build()
        assert index.search("soup") == before
        fresh = index.refreshed()
        assert fresh is not index
        assert "new/a.mp4" in fresh.videos()
        assert fresh.refreshed() is fresh


@pytest.mark.slow
def test_growth_from_exact_to_ivf_is_done_and_reported(library: Library) -> None:
    auto = IVF.replaced(factory="auto", exact_below=60, nprobe=32, rerank_candidates=82)
    first = library.build(options=auto)
    assert (first.factory, first.moments) == ("SQfp16", 58)
    library.add({"new/long.mp4": 100.0})
    second = library.build(options=auto)
    assert (second.factory, counts(second)) == ("IVF32,SQ8", (1, 0, 0, 8))
    assert second.notes == ("IVF32,SQ8 was rebuilt: 82 moments are too many for exact search",)
    library.build("exact")
    asked = {"k": 5, "merge": False}
    assert answers(library.folder / "index", **asked) == answers(library.folder / "exact", **asked)


def test_an_ann_index_that_lost_recall_is_rebuilt(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.build(options=IVF)
    library.add({"new/a.mp4": 31.0})
    told = iter([0.5])

    def lose_once(*arguments: Any) -> Any:  # noqa: ANN401 - handed on
        nprobe, recall = settle_nprobe(*arguments)
        return nprobe, replace(recall, at_10=next(told, recall.at_10))

    # So few moments cannot lose recall by themselves.
    monkeypatch.setattr(next_generation, "settle_nprobe", lose_once)
    report = library.build(options=IVF)
    assert report.notes == ("IVF8,SQ8 was rebuilt: its recall@10 had fallen to 0.500",)
    assert report.recall_at_10 > 0.9
    library.build("fresh", options=IVF)
    assert answers(library.folder / "index") == answers(library.folder / "fresh")


def test_a_change_of_the_structure_keeps_the_embeddings(library: Library) -> None:
    library.build(options=OPTIONS)
    before = answers(library.folder / "index", k=5)
    report = library.build(options=IVF)
    assert (report.factory, counts(report)) == ("IVF8,SQ8", (0, 0, 0, 8))
    assert report.notes == ("IVF8,SQ8 was rebuilt: factory, pca_dim changed",)
    assert answers(library.folder / "index", k=5) == before


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("IVF8,SQ", "FAISS does not accept the factory string 'IVF8,SQ'"),
        ("HNSW32", "a IndexHNSWFlat does not support removal"),
        ("IVF5000,SQ8", "cannot be trained on"),
    ],
)
def test_factory_strings_that_cannot_be_used(library: Library, factory: str, message: str) -> None:
    with pytest.raises(FactoryError, match=message):
        library.build(options=IVF.replaced(factory=factory))
    assert not (library.folder / "index/index.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("factory", ["Flat", "SQ8", "RR12,IVF4,SQ8", "IVF4,PQ4x4", "IVF4,PQ12x4fs", "PCA8,IVF4,Flat"])
def test_other_structures_find_moments_too(library: Library, factory: str) -> None:
    options = IVF.replaced(factory=factory, pca_dim=0, nprobe=0, rerank_candidates=60)
    report = library.build(options=options)
    assert report.recall_at_10 > 0.9
    library.add({"new/a.mp4": 31.0})
    (library.folder / "videos/part1/video1.mp4").unlink()
    library.build(options=options)
    library.build("exact")
    asked = {"k": 3, "merge": False, "videos": "new/*"}
    assert answers(library.folder / "index", **asked) == answers(library.folder / "exact", **asked)
    with SearchIndex.open(library.folder / "index") as index:
        assert len(index.search("soup", k=1000, merge=False)) == index.about().moments


@pytest.mark.slow
def test_much_that_is_gone_is_cleared_away(library: Library) -> None:
    library.build()
    for version in (1, 2):
        library.add(eight_videos(), version=version)
        report = library.build()
        assert counts(report) == (0, 8, 0, 0)
    held = read_generation(library.folder / "index")
    assert sum(held.rows.values()) == held.moments
    library.build("fresh")
    assert answers(library.folder / "index") == answers(library.folder / "fresh")


@pytest.mark.slow
def test_segments_become_one_and_moments_keep_their_ids(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "_MOST_SEGMENTS", 2)
    captions = {"video2": said("chop the onion", "boil water")}
    library.build(options=IVF, captions=captions)
    library.add({"new/a.mp4": 31.0})
    library.build(options=IVF, captions=captions)
    with SearchIndex.open(library.folder / "index") as index:
        ids = {(each.video_id, each.start_seconds): each.moment_id for each in index.search("soup", 1000, merge=False)}
    library.add({"new/b.mp4": 31.0})
    report = library.build(options=IVF, captions=captions)
    assert any("3 segments" in note for note in report.notes)
    assert len(read_generation(library.folder / "index").rows) == 1
    with SearchIndex.open(library.folder / "index") as index:
        found = {
            (each.video_id, each.start_seconds): each.moment_id for each in index.search("soup", 1000, merge=False)
        }
    assert found.items() >= ids.items()
    library.build("fresh", options=IVF, captions=captions)
    assert answers(library.folder / "index") == answers(library.folder / "fresh")


@pytest.mark.slow
def test_a_compaction_that_is_killed_leaves_the_current_index_in_use(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of its last segment and most of the first one are gone: the new segment is not to get the last one's name."""
    library.build()
    library.add({"new/a.mp4": 31.0})
    library.build()
    index = library.folder / "index"
    before, held = answers(index), {path: path.read_bytes() for path in index.glob("segment-*")}
    store = library.store
    with store.lock():
        store.forget([each for each in store.ids() if not each.endswith("video2.mp4")])

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(next_generation, "publish_generation", killed)
        with pytest.raises(KeyboardInterrupt):
            library.build()
    assert {path: path.read_bytes() for path in held} == held
    assert answers(index) == before
    report = library.build()
    assert any("became one" in note for note in report.notes)
    library.build("fresh")
    assert answers(index) == answers(library.folder / "fresh")


def test_progress_is_reported(library: Library) -> None:
    told: list[tuple[int, int]] = []
    build_index(library.request(), lambda done, total: told.append((done, total)))
    assert told == [(at, 8) for at in range(1, 9)]


def test_moments_of_a_clip_are_times_of_its_file(library: Library) -> None:
    library.add({"clip.mp4": 20.0}, start_seconds=100.0)
    library.build()
    with SearchIndex.open(library.folder / "index") as index:
        found = [each for each in index.search("chop the onion", k=200, merge=False) if each.video_id == "clip.mp4"]
        assert found
        assert min(each.start_seconds for each in found) == 100.0
        assert max(each.end_seconds for each in found) == 120.0
