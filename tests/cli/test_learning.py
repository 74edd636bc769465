"""`reeldex train` and `reeldex evaluate` over small real features, real Prefect included."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from reeldex.embedding.training.checkpoint import load_checkpoint
from tests.conftest import Reeldex
from tests.embedding.feature_files import make_store, rows_of
from tests.flows.captioned import KINDS, TRAIN, data_of, make_captioned, own_words, rows_of_kind, write_rows
from tests.processes import processes_that_name
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def weights_of(path: Path) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in load_checkpoint(path).weights.items()}


def test_from_captions_and_features_to_a_checkpoint_a_table_json_and_a_ranking(
    reeldex: Reeldex, tmp_path: Path
) -> None:
    data = data_of(make_captioned(tmp_path))
    train = ("train", *data, "--out", tmp_path / "run", *own_words(tmp_path), *TRAIN)
    answer = reeldex(*train, "--epochs", 60, "--lr-decay", 0.99, "--evaluate-on", "msrvtt", "--json")
    assert answer.status == 0, answer.err
    report = answer.json
    assert (report["epochs"], report["steps"], report["samples"]) == (60, 180, 12)
    assert report["mean_loss"] < 0.1
    assert "Epoch 60 of 60: mean loss" in answer.err
    assert "text to video: R@1" in answer.err
    for name in ("last.pth", "best.pth", "word-vectors.bin", "best.msrvtt.json"):
        assert (tmp_path / "run" / name).is_file()
    assert list((tmp_path / "run" / "tensorboard").iterdir())

    ranking = tmp_path / "ranking.csv"
    checkpoint = ("--checkpoint", tmp_path / "run" / "last.pth")
    evaluate = ("evaluate", *data, *checkpoint, "--word-cache", tmp_path / "cache", "--device", "cpu")
    answer = reeldex(*evaluate, "--save-ranking", ranking, "--ranking-length", 3)
    assert answer.status == 0, answer.err
    for said in ("R@1", "median rank", "text to video", "video to text", "they cannot be compared", str(ranking)):
        assert said in answer.out
    with ranking.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * len(KINDS)
    assert {row["caption"] for row in rows} == {f"the {kind} one" for kind in KINDS}
    reported = json.loads((tmp_path / "run" / "last.msrvtt.json").read_text(encoding="utf-8"))
    figures = reported["sets"]["msrvtt"]["directions"]["text_to_video"]["retrieval"]
    assert figures["recall_at_1"] == sum(row["rank"] == "1" and row["right"] == "1" for row in rows) / len(KINDS)
    assert figures["recall_at_1"] > 0.6, "it has learnt the kinds"
    again = reeldex(*evaluate, "--batch-size", 1, "--json")
    assert again.json["sets"]["msrvtt"]["directions"]["text_to_video"]["retrieval"] == figures


def test_the_best_checkpoint_can_be_chosen_on_videos_held_out_of_training(reeldex: Reeldex, tmp_path: Path) -> None:
    data = data_of(make_captioned(tmp_path))
    train = ("train", *data, *own_words(tmp_path), *TRAIN, "--epochs", 2, "--validation-share", 0.3, "--json")
    answer = reeldex(*train, "--out", tmp_path / "a", "--evaluate-on", "msrvtt")
    assert answer.status == 0, answer.err
    assert answer.json["samples"] == 8
    assert "4 videos held out for validation" in answer.err
    assert "validation, text to video: R@1" in answer.err
    assert list(answer.json["evaluation"]["sets"]) == ["msrvtt"]
    state = load_checkpoint(tmp_path / "a" / "best.pth").training
    assert state is not None
    assert state.best_by == "validation/text_to_video/recall_at_10"
    (tmp_path / "ids.csv").write_text("video_id\nred0\nred1\n")
    part = ("--exclude", tmp_path / "ids.csv", "--train-share", 0.8)
    answer = reeldex(*train, *part, "--out", tmp_path / "b", "--best-by", "validation/text_to_video/median_rank")
    assert answer.status == 0, answer.err
    assert answer.json["samples"] == 5, "8 of the 10 that are not red, less 3 for validation"
    refused = reeldex(*train, "--out", tmp_path / "c", "--evaluate-every", 0)
    assert refused.status == 2
    assert "Raise train.evaluate_every" in refused.err
    refused = reeldex(*train, "--out", tmp_path / "c", "--max-rank", 3)
    assert refused.status == 2
    assert "--max-rank does not apply to the data set msrvtt. It is an option of: howto100m." in refused.err


def test_several_sentences_a_video_from_a_command_to_its_report(reeldex: Reeldex, tmp_path: Path) -> None:
    data = data_of(make_captioned(tmp_path))
    assert reeldex("train", *data, "--out", tmp_path / "a", *own_words(tmp_path), *TRAIN, "--epochs", 20).status == 0
    several = [[f"{kind}2", f"the {kind} one{' and' * number}"] for number in range(3) for kind in KINDS]
    write_rows(tmp_path / "several.csv", [["video_id", "sentence"], *several])
    evaluate = ("evaluate", *data, "--checkpoint", tmp_path / "a" / "last.pth", "--word-cache", tmp_path / "cache")
    one = reeldex(*evaluate, "--json").json["sets"]["msrvtt"]
    file = ("--file", f"test_csv={tmp_path}/several.csv")
    found = reeldex(*evaluate, *file, "--json").json["sets"]["msrvtt"]
    assert (one["clips"], one["sentences"], found["clips"], found["sentences"]) == (6, 6, 6, 18)
    assert found["directions"]["text_to_video"]["retrieval"]["query_count"] == 18
    assert found["directions"]["video_to_text"]["retrieval"]["query_count"] == 6
    # `and` is in no caption that was trained on, so that a video's sentences are the same to the model.
    ours, theirs = (each["directions"]["text_to_video"]["retrieval"] for each in (found, one))
    assert {**ours, "query_count": 6} == theirs
    ours, theirs = (each["directions"]["video_to_text"]["retrieval"] for each in (found, one))
    assert ours["recall_at_1"] == theirs["recall_at_1"]
    assert (found["protocol"], found["is_published_set"]) == (None, False)
    refused = reeldex(*evaluate, *file, "--protocol", "1k-A")
    assert refused.status == 2
    assert "1k-A of msrvtt has 1000 candidates and 1000 sentences, the file 6 and 18" in refused.err
    shown = reeldex(*evaluate, *file).out
    assert f"no named protocol, 6 videos, 18 sentences; SHA-256 of the set {found['sha256']}" in shown


def test_a_training_goes_on_to_the_same_weights_and_is_not_begun_over(reeldex: Reeldex, tmp_path: Path) -> None:
    data = data_of(make_captioned(tmp_path))
    train = ("train", *data, *own_words(tmp_path), *TRAIN, "--json")
    assert reeldex(*train, "--out", tmp_path / "whole", "--epochs", 4).status == 0
    assert reeldex(*train, "--out", tmp_path / "parts", "--epochs", 2).status == 0
    refused = reeldex(*train, "--out", tmp_path / "parts", "--epochs", 4)
    assert refused.status == 2
    assert "--resume" in refused.err
    other = reeldex(*train, "--out", tmp_path / "parts", "--epochs", 4, "--resume", "--margin", 0.2)
    assert other.status == 2
    assert "margin was 0.1 and is 0.2" in other.err
    resumed = reeldex(*train, "--out", tmp_path / "parts", "--epochs", 4, "--resume")
    assert resumed.json["steps"] == 12
    assert weights_of(tmp_path / "parts" / "last.pth") == weights_of(tmp_path / "whole" / "last.pth")
    finished = reeldex(*train[:-1], "--out", tmp_path / "parts", "--epochs", 4, "--resume")
    assert (finished.status, "already complete" in finished.out) == (0, True)


def test_ctrl_c_keeps_what_was_saved_and_the_resumed_training_ends_with_the_same_weights(
    reeldex: Reeldex, tmp_path: Path
) -> None:
    make_captioned(tmp_path)
    arguments = [*data_of(tmp_path), *own_words(tmp_path), *TRAIN, "--evaluate-every", 0, "--out"]
    train = ["train", *map(str, arguments)]
    # Within an epoch only in the run that is interrupted. On a busy machine it has run for hundreds of epochs by then,
    # and so do the others, which need no such checkpoints.
    checkpoints = ["--epochs", "1000", "--checkpoint-every-steps", "2"]
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect"), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "reeldex", *train, str(tmp_path / "stopped"), *checkpoints],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    wait_until((tmp_path / "stopped" / "last.pth").exists, 240, process=process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "add --resume to continue" in err
    assert processes_that_name(str(tmp_path / "prefect")) == []

    state = load_checkpoint(tmp_path / "stopped" / "last.pth").training
    assert state is not None
    assert state.step < 3000
    epochs = ("--epochs", state.epoch + 2)
    assert reeldex(*train, tmp_path / "stopped", *epochs, "--resume").status == 0
    assert reeldex(*train, tmp_path / "undisturbed", *epochs).status == 0
    assert weights_of(tmp_path / "stopped" / "last.pth") == weights_of(tmp_path / "undisturbed" / "last.pth")


def test_under_torchrun_two_processes_end_with_the_weights_of_one(reeldex: Reeldex, tmp_path: Path) -> None:
    make_captioned(tmp_path)
    arguments = [*data_of(tmp_path), *own_words(tmp_path), *TRAIN, "--epochs", 3, "--evaluate-on", "msrvtt"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    two = subprocess.run(
        [*torchrun, "-m", "reeldex", "train", *map(str, arguments), "--json", "--out", str(tmp_path / "two")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=300,
    )
    assert two.returncode == 0, two.stderr
    assert json.loads(two.stdout)["steps"] == 9, "one answer of the two processes"
    assert reeldex("train", *arguments, "--out", tmp_path / "one").status == 0
    ours, theirs = (load_checkpoint(tmp_path / name / "last.pth").weights for name in ("one", "two"))
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, atol=1e-5, rtol=0)


def test_a_checkpoint_is_where_another_training_begins_with_its_sizes_and_words(
    reeldex: Reeldex, tmp_path: Path
) -> None:
    data = data_of(make_captioned(tmp_path))
    assert reeldex("train", *data, "--out", tmp_path / "a", *own_words(tmp_path), *TRAIN, "--epochs", 1).status == 0
    more = ("train", *data, "--checkpoint", tmp_path / "a" / "best.pth", "--word-cache", tmp_path / "cache")
    tuned = reeldex(*more, "--out", tmp_path / "b", "--batch-size", 4, "--epochs", 1, "--device", "cpu")
    assert tuned.status == 0, tuned.err
    assert load_checkpoint(tmp_path / "b" / "best.pth").spec == load_checkpoint(tmp_path / "a" / "best.pth").spec
    # The words of `a` are known to what was trained with them.
    evaluate = ("evaluate", *data, "--checkpoint", tmp_path / "b" / "best.pth", "--word-cache", tmp_path / "cache")
    assert reeldex(*evaluate).status == 0
    other = reeldex("train", *data, "--checkpoint", tmp_path / "a" / "best.pth", "--out", tmp_path / "c",
                    *own_words(tmp_path), "--word-dim", 7, "--batch-size", 4)  # fmt: skip
    assert other.status == 2
    assert "takes word vectors of 8 dimensions" in other.err


def test_howto100m_from_a_store_with_videos_missing(reeldex: Reeldex, tmp_path: Path) -> None:
    videos = {f"{kind}{number}": rows_of_kind(kind, number) for kind in KINDS for number in range(2)}
    make_store(tmp_path, videos)
    ids = [*videos, "lost"]
    (tmp_path / "videos.csv").write_text("video_id,task_id\n" + "".join(f"{name},1\n" for name in ids))
    spoken = {name: {"start": [0, 2], "end": [2, 4], "text": [f"the {name[:-1]} one", "and more"]} for name in ids}
    (tmp_path / "captions.json").write_text(json.dumps(spoken))
    train = ("train", "--dataset", "howto100m", "--store", tmp_path / "store", *own_words(tmp_path), *TRAIN)
    files = tuple(f"--file={each}" for each in (f"csv={tmp_path}/videos.csv", f"captions={tmp_path}/captions.json",
                                                f"captions_cache={tmp_path}/cache"))  # fmt: skip
    answer = reeldex(*train, *files, "--out", tmp_path / "run", "--epochs", 1, "--n-pair", 3, "--json")
    assert answer.status == 0, answer.err
    assert (answer.json["samples"], answer.json["unusable_videos"]) == (12, 1)
    assert "lost: the store has no features of it" in answer.err
    refused = reeldex(*train, *files, "--out", tmp_path / "r2", "--epochs", 1, "--max-missing-share", 0)
    assert refused.status == 2
    assert "max_missing_share" in refused.err


def epic_folder(folder: Path) -> tuple[object, ...]:
    """Label files of 20-second videos, 30 rows each."""
    kinds = {"take": "take the red", "wash": "wash the green", "put": "put the blue"}
    for split, count in (("train", 6), ("test", 3)):
        for number in range(count):
            verbs = [verb for at in range(5) for verb in [list(kinds)[(at + number) % 3]] * 6]
            for labels in ("verb", "narration"):
                path = folder / "labels" / split / labels / f"P0{number}_{split}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                said = verbs if labels == "verb" else [kinds[verb] for verb in verbs]
                path.write_text("\n".join(said) + "\n")
    make_store(folder, {path.stem: rows_of(path.stem) for path in folder.glob("labels/*/verb/*.txt")})
    return ("--dataset", "epic", "--store", folder / "store", "--data", folder / "labels")


def test_epic_kitchens_by_label_files_by_preset_and_by_verbs(reeldex: Reeldex, tmp_path: Path) -> None:
    data = epic_folder(tmp_path)
    small = (*own_words(tmp_path), *TRAIN, "--epochs", 2, "--evaluate-on", "epic")
    answer = reeldex(
        "train", *data, "--preset", "narration-2-before", *small, "--out", tmp_path / "narration", "--json"
    )
    assert answer.status == 0, answer.err
    assert answer.json["samples"] == 6 * 5
    settings: Any = load_checkpoint(tmp_path / "narration" / "last.pth").origin.config["settings"]
    assert (settings["datasets"]["epic"]["clips_before"], settings["train"]["epochs"]) == (1, 2)
    verbs = ("--labels", "verb", "--verb-only", "--clips-per-sample", 2, "--clips-filter-length", 5)
    answer = reeldex("train", *data, *verbs, *small, "--out", tmp_path / "verbs")
    assert answer.status == 0, answer.err
    assert "Rank of the right class" in answer.out
    options: Any = load_checkpoint(tmp_path / "verbs" / "last.pth").origin.config["options"]
    assert options["loss"] == "triplet"
