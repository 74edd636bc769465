"""Training and evaluation from the Prefect UI: forms, states, artifacts, Retry."""

from __future__ import annotations

import json
import os
import signal

from tests.conftest import MakeVideo
from tests.flows.captioned import KINDS, make_captioned, write_rows
from tests.system.running import ReeldexUp


def test_a_training_and_an_evaluation_end_with_a_table_and_say_what_was_wrong(up: ReeldexUp) -> None:
    folder = make_captioned(up.folder / "captioned")
    data = {"data_folder": str(folder), "store": str(folder / "store")}
    cache = {"words.cache_folder": str(folder / "cache")}
    small = {"train.model.embed_dim": 16, "words.training.dim": 8, **cache}
    given = {"dataset": "msrvtt", "learn_word_vectors": True, "batch_size": 4, "epochs": 3, "device": "cpu", **data}
    given["folder"] = "captioned/run"
    broken = up.launch("train/train", **{**given, "epochs": 50}, settings={**small, "train": {"learning_rate": 1e30}})
    state = up.ended(broken)
    assert state["type"] == "FAILED"
    assert "The batch held" in state["message"]
    assert not any("Traceback" in line["message"] for line in up.log(broken))

    given["folder"] = "captioned/other run"
    run = up.launch("train/train", **given, evaluate_on=["msrvtt"], settings=small)
    state = up.ended(run)
    assert (state["type"], state["name"]) == ("COMPLETED", "Completed")
    assert "3 epochs (9 steps) on 12 samples of msrvtt" in state["message"]
    assert up.run(run)["name"].startswith("train msrvtt 20")
    artifacts = up.artifacts(run)
    assert artifacts["Progress"]["data"] == 100.0
    table = up.table(run, "Figures")
    assert [row["direction"] for row in table] == ["text to video", "video to text"]
    assert table[0]["queries"] == str(len(KINDS))
    assert "they cannot be compared" in artifacts["Figures"]["description"]
    assert any("Epoch 3 of 3: mean loss" in line["message"] for line in up.log(run))
    again = up.launch("train/train", **given, settings=small)
    assert "already contains a training" in up.ended(again)["message"]
    assert "already contains a training" in up.retry(again)["message"], "Retry does not resume another run's training"

    checkpoint = str(up.folder / "captioned" / "other run" / "best.pth")
    run = up.launch("evaluate/evaluate", checkpoint=checkpoint, test_sets=["msrvtt"], **data)
    state = up.ended(run)
    assert state["name"] == "Completed"
    assert "msrvtt (no named protocol, 6 videos, 6 sentences), text to video: R@1" in state["message"]
    assert up.run(run)["name"].startswith("evaluate best.pth 20")
    assert len(up.table(run, "Figures")) == 2

    given = {"store": str(folder / "store"), "checkpoint": checkpoint, "folder": "captioned/index", "device": "cpu"}
    run = up.launch("index/index", **given, settings=cache)
    state = up.ended(run)
    assert (state["type"], state["name"]) == ("COMPLETED", "Completed"), state
    assert "18 moments of 18 videos" in state["message"]
    figures = {row["figure"]: row["value"] for row in up.table(run, "Figures")}
    assert (figures["videos added"], figures["recall at 10"]) == ("18", "1.0")
    assert up.artifacts(run)["Progress"]["data"] == 100.0
    run = up.launch("index/index", **given, settings=cache)
    assert up.ended(run)["name"] == "Nothing new"

    missing = up.launch("evaluate/evaluate", checkpoint="none.pth", test_sets=["msrvtt"])
    assert "no checkpoint at none.pth" in up.ended(missing)["message"]


def test_a_killed_training_goes_on_when_it_is_retried(up: ReeldexUp) -> None:
    folder = make_captioned(up.folder / "killed")
    run = up.launch(
        "train/train",
        dataset="msrvtt",
        folder="killed/run",
        store=str(folder / "store"),
        data_folder=str(folder),
        learn_word_vectors=True,
        batch_size=4,
        epochs=100,
        device="cpu",
        settings={
            "train.model.embed_dim": 16,
            "words": {"cache_folder": str(folder / "cache"), "training": {"dim": 8}},
        },
    )
    up.until((folder / "run" / "last.pth").exists)
    os.kill(up.process_of(run), signal.SIGKILL)
    assert up.ended(run)["type"] == "CRASHED"
    state = up.retry(run)
    assert state["type"] == "COMPLETED", (state, up.log(run)[-5:])
    assert "100 epochs (300 steps)" in state["message"]
    assert any(line["message"].startswith("Resuming after step ") for line in up.log(run))


def test_a_pipeline_does_every_step_as_a_run_below_it_and_goes_on_when_it_was_killed(
    up: ReeldexUp, make_video: MakeVideo
) -> None:
    folder = up.folder / "steps"
    names = ("bars", "rainbow", "counter", "test")
    for name, picture in zip(names, ("smptebars", "rgbtestsrc", "testsrc", "testsrc2"), strict=True):
        make_video(folder / "videos" / f"{name}.mp4", seconds=0.5, picture=picture)
    sentences = [{"video_id": name, "caption": f"here is a {name}"} for name in names]
    (folder / "MSRVTT_data.json").write_text(json.dumps({"sentences": sentences}), encoding="utf-8")
    write_rows(folder / "MSRVTT_train.csv", [["video_id"], *([name] for name in names)])
    parameters = {
        "source": "steps/videos",
        "folder": "steps/all",
        "train_on": "msrvtt",
        "data_folder": str(folder),
        "learn_word_vectors": True,
        "device": "cpu",
        "settings": {
            "extract": {"extractors": ["wide2d", "wide3d"], "shard_videos": 2},
            "train": {"epochs": 100, "batch_size": 4, "model.embed_dim": 16},
            "words": {"cache_folder": str(folder / "cache"), "training": {"dim": 8}},
        },
    }
    run = up.launch("pipeline/pipeline", **parameters)
    up.until((folder / "all" / "embedding" / "last.pth").exists)
    os.kill(up.process_of(run), signal.SIGKILL)
    assert up.ended(run)["type"] == "CRASHED"
    state = up.retry(run)
    assert state["type"] == "COMPLETED", (state, up.log(run)[-5:])
    assert "4 moments of 4 videos" in state["message"]
    found = up.artifacts(run)["Summary"]["data"]
    assert [row["step"] for row in up.table(run, "Summary")] == ["features", "embedding", "index"]
    assert f"reeldex page --index '{up.folder}/steps/all/index'".replace("'", "") in found.replace("'", "")
    assert not any("\\n" in line["message"] for line in up.log(run))
    below = up.api("/flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}})
    assert {each["name"].partition(" ")[0] for each in below} == {"extract", "train", "index"}
    assert all("reeldex" in each["tags"] for each in below)
    resumed = [line for each in below for line in up.log(each["id"]) if line["message"].startswith("Resuming after")]
    assert len(resumed) == 1, "the training was not begun anew"
    again = up.launch("pipeline/pipeline", **parameters)
    state = up.ended(again)
    assert state["type"] == "COMPLETED"
    assert "nothing to do" in state["message"]
    assert "up to date" in state["message"]
