"""A store that is extracted into again: what is new, changed, added, lost or broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from reeldex.storage.store import FeatureStore
from tests.conftest import MakeVideo, Reeldex
from tests.flows.stores import RANDOM, WIDE, WIDE_SPACES, outcomes

pytestmark = pytest.mark.slow


def test_a_growing_folder_costs_only_what_is_new_or_changed(
    reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo
) -> None:
    folder, store = tmp_path / "videos", tmp_path / "store"
    for name in ("kept", "changed", "deleted"):
        make_video(folder / f"{name}.mp4", seconds=0.5)
    run = ("extract", folder, "--store", store, *WIDE, "--json")
    assert reeldex(*run).json["new"] == 3
    before = {file: file.read_bytes() for file in (store / "features").rglob("*.h5")}
    old = FeatureStore(store).read(WIDE_SPACES[1], "changed")

    make_video(folder / "changed.mp4", seconds=2.0, picture="testsrc")
    make_video(folder / "added.mp4", seconds=0.5)
    (folder / "deleted.mp4").unlink()
    answer = reeldex(*run)
    report = answer.json
    assert answer.status == 0
    assert {key: report[key] for key in ("new", "changed", "unchanged", "gone", "extracted_ok", "shards_done")} == {
        "new": 1,
        "changed": 1,
        "unchanged": 1,
        "gone": 1,
        "extracted_ok": 2,
        "shards_done": 1,
    }
    assert {file: file.read_bytes() for file in before} == before, "no old file is touched"
    opened = FeatureStore(store)
    assert opened.read(WIDE_SPACES[1], "changed").shape != old.shape
    assert "deleted" in opened
    assert reeldex(*run).json["shards_done"] == 0


def test_an_extractor_added_later_touches_no_old_file(reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo) -> None:
    folder, store = tmp_path / "videos", tmp_path / "store"
    make_video(folder / "a.mp4", seconds=0.5)
    (folder / "broken.mp4").write_bytes(b"x")
    assert reeldex("extract", folder, "--store", store, *RANDOM, "--extractors", "wide2d").status == 1
    (first,) = (store / "features").rglob("*.h5")
    before = (first.read_bytes(), first.stat().st_mtime_ns)
    assert reeldex("extract", folder, "--store", store, *WIDE).status == 1
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before
    assert FeatureStore(store).read(WIDE_SPACES[1], "a").shape == (1, 2048)
    assert reeldex("verify", store).status == 0


def test_damage_is_named_and_rerun_repairs_what_was_removed(
    reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo
) -> None:
    store = tmp_path / "store"
    make_video(tmp_path / "videos" / "a.mp4", seconds=0.5)
    assert reeldex("extract", tmp_path / "videos", "--store", store, *WIDE).status == 0
    file = store / "features" / WIDE_SPACES[0] / "shard-00000.h5"
    good = FeatureStore(store).read(WIDE_SPACES[0], "a")
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    answer = reeldex("verify", store, "--json")
    assert answer.status == 1
    assert {(each["file"], each["video_id"]) for each in answer.json["damages"]} >= {
        (file.relative_to(store).as_posix(), "a")
    }
    file.unlink()
    assert reeldex("status", store).status == 1
    rerun = reeldex("rerun", store, "--json")
    assert (rerun.status, rerun.json["shards_done"]) == (0, 1)
    assert reeldex("verify", store).status == 0
    assert FeatureStore(store).read(WIDE_SPACES[0], "a").tobytes() == good.tobytes()
    assert reeldex("rerun", store, "--json").json["shards_done"] == 0
    file.unlink()
    assert reeldex("extract", tmp_path / "videos", "--store", store, *WIDE).status == 0, "extract mends it as well"
    assert FeatureStore(store).read(WIDE_SPACES[0], "a").tobytes() == good.tobytes()


def test_damage_that_verify_found_is_repaired_without_deleting_a_file(
    reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo
) -> None:
    store = tmp_path / "store"
    for name in ("a", "b"):
        make_video(tmp_path / "videos" / f"{name}.mp4", seconds=0.5)
    extract = ("extract", tmp_path / "videos", "--store", store, *WIDE, "--shard-videos", 1, "--json")
    assert reeldex(*extract).status == 0
    good = FeatureStore(store).read(WIDE_SPACES[0], "b").tobytes()
    file = store / "features" / WIDE_SPACES[0] / "shard-00001.h5"
    for repair, at in ((("rerun", store, "--json"), -600), (extract, 100)):
        content = bytearray(file.read_bytes())
        content[at : at + 64] = bytes(each ^ 0xFF for each in content[at : at + 64])
        file.write_bytes(content)
        if at < 0:
            assert reeldex(*repair).json["shards_done"] == 0, "what is in the rows is not seen by opening the file"
        assert "Run `reeldex rerun`" in reeldex("verify", store).out
        assert reeldex("status", store, "--json").json["damaged"] == [file.relative_to(store).as_posix()]
        answer = reeldex(*repair)
        assert (answer.status, answer.json["shards_done"], answer.json["extracted_ok"]) == (0, 1, 1)
        assert reeldex("verify", store).status == 0
        assert reeldex("status", store).status == 0
        assert FeatureStore(store).read(WIDE_SPACES[0], "b").tobytes() == good
    outcomes_file = store / "outcomes" / "shard-00001.json"
    outcomes_file.write_text(outcomes_file.read_text().replace("wide2d", "wide9d"), encoding="utf-8")
    assert reeldex("verify", store).status == 1
    assert reeldex("rerun", store).status == 0
    assert reeldex("verify", store).status == 0


def test_chosen_shards_and_videos_are_extracted_again(reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo) -> None:
    store = tmp_path / "store"
    for name in "abcd":
        make_video(tmp_path / "videos" / f"{name}.mp4", seconds=0.5)
    assert (
        reeldex(
            *("extract", tmp_path / "videos", "--store", store, *RANDOM),
            *("--extractors", "wide2d", "--shard-videos", 2),
        ).status
        == 0
    )
    before = {name: FeatureStore(store).read(WIDE_SPACES[0], name).tobytes() for name in "abcd"}
    make_video(tmp_path / "videos" / "b.mp4", seconds=3.0, picture="testsrc")
    rerun = ("rerun", store, "--json")
    assert reeldex(*rerun, "--videos", "a", "d").json["extracted_ok"] == 2
    assert {name: FeatureStore(store).read(WIDE_SPACES[0], name).tobytes() for name in "abcd"} == before
    answer = reeldex(*rerun, "--shards", "0")
    assert (answer.status, answer.json["extracted_ok"], answer.json["shards_done"]) == (0, 2, 1)
    assert FeatureStore(store).read(WIDE_SPACES[0], "b").shape == (3, 2048)
    assert reeldex(*rerun, "--shards", "0,1").json["extracted_ok"] == 4
    (tmp_path / "videos" / "c.mp4").unlink()
    assert reeldex(*rerun, "--shards", "1").json["extracted_failed"] == 1
    assert FeatureStore(store).read(WIDE_SPACES[0], "c").tobytes() == before["c"], (
        "features stay when the video is gone"
    )
    assert reeldex("verify", store).status == 0
    for wrong, said in (
        (("--shards", "2"), "has no shard 2; it has 2 shards, numbered 0 to 1"),
        (("--shards", "one"), "'one' is not a shard number"),
        (("--shards", "1-0"), "'1-0' is not a shard number"),
        (("--videos", "e"), "has no video 'e'"),
        (("--shards", "0", "--failed-videos"), "whatever their outcome"),
    ):
        refused = reeldex("rerun", store, *wrong)
        assert (refused.status, said in refused.err) == (2, True), refused.err


def test_broken_videos_are_tried_again_when_asked_for(reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo) -> None:
    folder, store = tmp_path / "videos", tmp_path / "store"
    make_video(folder / "a.mp4", seconds=0.5)
    make_video(tmp_path / "b.mp4", seconds=0.5)
    (folder / "list.txt").write_text(f"a.mp4\n{tmp_path}/late.mp4\n", encoding="utf-8")
    assert reeldex("extract", folder / "list.txt", "--store", store, *WIDE).status == 1
    assert outcomes(store) == {"a.mp4": ("ok", None), "late.mp4": ("failed", "missing")}
    (tmp_path / "b.mp4").rename(tmp_path / "late.mp4")
    assert reeldex("rerun", store).status == 1, "left alone unless asked for"
    assert reeldex("rerun", store, "--failed-videos", "--reason", "timeout").status == 1
    assert reeldex("rerun", store, "--failed-videos", "--reason", "missing").status == 0
    assert outcomes(store)["late.mp4"] == ("ok", None)
    assert FeatureStore(store).read(WIDE_SPACES[0], "late").shape == (1, 2048)
    assert reeldex("verify", store).status == 0


def test_a_lost_shard_is_named_the_others_are_done_and_rerun_finishes_it(
    reeldex: Reeldex, tmp_path: Path, make_video: MakeVideo
) -> None:
    folder, store = tmp_path / "videos", tmp_path / "store"
    for name in ("a", "b", "c"):
        make_video(folder / f"{name}.mp4", seconds=0.3)
    in_the_way = store / "features" / "wide2d.random" / "shard-00001.h5"
    FeatureStore(store, create=True)
    in_the_way.mkdir(parents=True)
    Path("pipeline.yaml").write_text("compute: {retries: 1, retry_delay_seconds: 0.1}\n", encoding="utf-8")
    run = ("extract", folder, "--store", store, *RANDOM, "--extractors", "wide2d", "--shard-videos", 1)
    answer = reeldex(*run, "--json")
    assert answer.status == 1, answer.err
    assert answer.json["shards_done"] == 2
    assert list(answer.json["shards_lost"]) == ["1"]
    assert "Error" in answer.json["shards_lost"]["1"]
    assert f"reeldex rerun {store}" in answer.err
    assert "Traceback" not in answer.err
    assert reeldex("status", store, "--json").json["shards_unfinished"] == 1

    in_the_way.rmdir()
    assert reeldex("rerun", store).status == 0
    assert FeatureStore(store).ids() == ["a", "b", "c"]
