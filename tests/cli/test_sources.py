"""What `reeldex extract` says about its sources, and `reeldex forget`."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from reeldex.storage.searches import Searches
from reeldex.storage.store import FeatureStore
from reeldex.storage.write_errors import UnwritableError
from tests.conftest import MakeVideo, Reeldex
from tests.flows.stores import RANDOM

_FAST = (*RANDOM, "--extractors", "wide2d")


@pytest.mark.slow
def test_a_path_removed_from_a_list_leaves_and_can_be_forgotten(
    reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo
) -> None:
    make_video(tmp_path / "a.mp4", seconds=0.5)
    listing, store = tmp_path / "list.csv", tmp_path / "store"
    listing.write_text("path\na.mp4\ngone.mp4\n", encoding="utf-8")
    assert reeldex("extract", listing, "--store", store, *_FAST).status == 1
    assert reeldex("status", store, "--json").json["failed_by_reason"] == {"missing": 1}
    listing.write_text("path\na.mp4\n", encoding="utf-8")
    again = reeldex("extract", listing, "--store", store, *_FAST)
    assert (again.status, "1 video of the store not in this source" in again.out) == (0, True)
    status = reeldex("status", store, "--failures")
    assert (status.status, "left     1 failed" in status.out, "gone.mp4" in status.out) == (0, True, False)
    assert reeldex("rerun", store, "--failed-videos").status == 0
    assert reeldex("forget", store, "--left").out == "Forgot 1 video\n"
    assert reeldex("status", store, "--json").json["left_source"] == {}
    assert reeldex("forget", store, "--left").out == "Forgot 0 videos\n"
    assert reeldex("forget", store, "a").status == 0
    assert FeatureStore(store).ids() == []
    # What the source still holds comes back.
    assert reeldex("extract", listing, "--store", store, *_FAST, "--json").json["new"] == 1
    assert FeatureStore(store).ids() == ["a"]


@pytest.mark.parametrize(("arguments", "said"), [((), "Name the videos"), (("x",), "'x'"), (("x", "--left"), "--left")])
def test_forget_refuses_what_it_cannot_do(
    reeldex: Reeldex, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    FeatureStore(tmp_path / "store", create=True)
    answer = reeldex("forget", tmp_path / "store", *arguments)
    assert (answer.status, said in answer.err) == (2, True)


@pytest.mark.slow
def test_what_is_not_searched_is_said_by_the_run_and_the_estimate(
    reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo
) -> None:
    for name in ("v/p1/a.mp4", "v/p2/a.mp4", "v/skip/c.mp4", "w/d.mp4"):
        make_video(tmp_path / name, seconds=0.5)
    (tmp_path / "v" / "notes.txt").write_text("no video", encoding="utf-8")
    arguments = ("extract", tmp_path / "v", tmp_path / "w", "--store", tmp_path / "s", *_FAST)
    patterns = ("--exclude", "skip", "--exclude", "x,y")
    estimate = reeldex(*arguments, *patterns, "--dry-run")
    run = reeldex(*arguments, *patterns)
    for answer in (estimate, run):
        assert answer.status == 0
        assert "Not searched: 1 file with another ending (1 .txt, such as notes.txt)" in answer.out
        assert "Not searched: 1 file or folder excluded by a pattern (skip/)" in answer.out
    assert "2 files have names of others; their ids are their paths (p1/a.mp4, p2/a.mp4)" in run.err
    assert sorted(FeatureStore(tmp_path / "s").ids()) == ["d", "p1/a.mp4", "p2/a.mp4"]
    again = reeldex(*arguments, *patterns, "--json")
    assert [note["kind"] for note in again.json["notes"]] == ["other_ending", "excluded"]
    assert again.json["unchanged"] == 3


@pytest.mark.slow
def test_the_ids_of_an_older_store_stay(reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "v" / "p1" / "a.mp4", seconds=0.5)
    store = tmp_path / "s"
    assert reeldex("extract", tmp_path / "v", "--store", store, *_FAST).status == 0
    searches = FeatureStore(store).searches()
    assert searches is not None
    assert searches.equal_names_get_paths
    (store / "searches.json").unlink()  # as an older release leaves a store
    make_video(tmp_path / "v" / "p2" / "a.mp4", seconds=0.5)
    answer = reeldex("extract", tmp_path / "v", "--store", store, *_FAST)
    assert (answer.status, "duplicate_id" in answer.out) == (1, True)
    assert FeatureStore(store).searches() == Searches(FeatureStore(store).searches().sources)  # type: ignore[union-attr]


@pytest.mark.slow
def test_clips_of_a_list_have_rows_of_their_part(reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "v.mp4", seconds=4)
    (tmp_path / "clips.csv").write_text(
        "Path;Video ID;start;end\nv.mp4;whole;;\nv.mp4;part;1;0:03\nv.mp4;;3.5;\nv.mp4;late;60;\n", encoding="utf-8"
    )
    store = tmp_path / "s"
    assert reeldex("extract", tmp_path / "clips.csv", "--store", store, *_FAST).status == 1
    opened = FeatureStore(store)
    (space,) = opened.spaces()
    whole, part = opened.rows(space, "whole"), opened.rows(space, "part")
    assert np.array_equal(part.rows, whole.rows[1:3])
    assert (list(part.row_seconds), part.duration_seconds) == ([1.0, 2.0], 2.0)
    assert np.array_equal(opened.read_span(space, "part", 2.0, 2.5), whole.rows[2:3]), "times are those of the file"
    assert "v_3.5_end" in opened
    outcome = opened.outcome("late")
    assert outcome is not None
    assert (outcome.reason, "starts at 60 s" in outcome.message) == ("decode_error", True)
    assert reeldex("extract", tmp_path / "clips.csv", "--store", store, *_FAST, "--json").json["unchanged"] == 4


@pytest.mark.slow
def test_a_span_of_the_whole_file_is_no_clip(reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "v.mp4", seconds=2.4)
    (tmp_path / "clips.csv").write_text("path,start,end\nv.mp4,0,\nv.mp4,2.2,\n", encoding="utf-8")
    store = tmp_path / "s"
    assert reeldex("extract", tmp_path / "clips.csv", "--store", store, *_FAST).status == 0
    opened = FeatureStore(store)
    assert sorted(opened.ids()) == ["v", "v_2.2_end"]
    (space,) = opened.spaces()
    last = opened.rows(space, "v_2.2_end")
    assert np.array_equal(last.rows, opened.rows(space, "v").rows[-1:])
    assert list(last.row_seconds) == [1.0]


@pytest.mark.slow
def test_what_left_its_source_is_no_part_of_a_rerun_s_report(
    reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo
) -> None:
    videos, store = tmp_path / "videos", tmp_path / "store"
    for name in "ab":
        make_video(videos / f"{name}.mp4", seconds=0.5)
    assert reeldex("extract", videos, "--store", store, *_FAST).status == 0
    (videos / "b.mp4").unlink()
    assert reeldex("extract", videos, "--store", store, *_FAST).status == 0
    report = reeldex("rerun", store, "--videos", "a", "--json").json
    assert (report["videos"], report["with_features"]) == (1, 1)


@pytest.mark.slow
def test_sources_that_overlap_count_a_file_once_and_in_any_order(
    reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo
) -> None:
    outer, store = tmp_path / "outer", tmp_path / "store"
    make_video(outer / "x.mp4", seconds=0.5)
    make_video(outer / "sub/y.mp4", seconds=0.5)
    sources = (outer, outer / "sub", outer / "x.mp4")
    report = reeldex("extract", *sources, "--store", store, *_FAST, "--video-id", "path", "--json").json
    assert (report["videos"], report["extracted_ok"]) == (2, 2)
    assert sorted(FeatureStore(store).ids()) == ["sub/y.mp4", "x.mp4"]
    (tmp_path / "ids.csv").write_text("path,video_id\nouter/x.mp4,given\n", encoding="utf-8")
    named = reeldex("extract", outer, tmp_path / "ids.csv", "--store", tmp_path / "named", *_FAST, "--json").json
    assert named["videos"] == 2
    assert sorted(FeatureStore(tmp_path / "named").ids()) == ["given", "y"]
    (outer / "x.mp4").rename(tmp_path / "x.mp4")
    assert reeldex("extract", outer / "sub", outer, "--store", store, *_FAST, "--video-id", "path").status == 0
    assert reeldex("extract", outer, outer / "sub", "--store", store, *_FAST, "--video-id", "path").status == 0
    assert len((FeatureStore(store).searches() or Searches()).sources) == 2


@pytest.mark.slow
def test_nothing_to_do_on_a_store_that_cannot_be_written_is_no_failure(
    reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, store = make_video(tmp_path / "videos/a.mp4", seconds=0.5), tmp_path / "store"
    assert reeldex("extract", video.parent, "--store", store, *_FAST).status == 0
    (tmp_path / "one.txt").write_text(f"{video}\n", encoding="utf-8")

    def read_only(*_: object) -> None:
        raise UnwritableError(store, errno.EROFS)

    # As on a read-only mount, which only root can make.
    monkeypatch.setattr(FeatureStore, "lock", read_only)
    answer = reeldex("extract", tmp_path / "one.txt", "--store", store, *_FAST)
    assert answer.status == 0
    assert "Which videos left the source is not recorded" in answer.err
